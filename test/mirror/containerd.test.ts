import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONTAINERD_KINDS, skipWithoutContainerd, startContainerd } from '../helpers/containerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { startTokenServer } from '../helpers/token-server.ts';
import { openMirrorStage, type MirrorStage } from './kit.ts';

/** As `server` names it, the registry is asked where the mirror fails. */
function hostsToml({ mirror, pipe }: Pick<MirrorStage, 'mirror' | 'pipe'>): string {
  return `server = "http://${pipe.host}"
[host."${mirror.url}"]
  capabilities = ["pull", "resolve"]
`;
}

/** Requests for blobs that reached the registry from this machine's nodes, less those that the torrent service made. */
const blobsAt = ({ pipe }: MirrorStage): string[] =>
  pipe.requests.filter((line) => /^GET \S*\/blobs\//.test(line));

for (const kind of CONTAINERD_KINDS) {
  const skip = skipWithoutContainerd(kind, 'docker-registry');

  test(
    `containerd (${kind}): by tag and by digest, each byte from the registry once`,
    { skip },
    async (t) => {
      const stage = await openMirrorStage(t);
      const image = await stage.layout.addImage({
        layers: [randomLayer(6_000_000, 'a'), randomLayer(2000, 'b')],
      });
      await stage.push(image.manifest, 'team/app:1.0');
      const containerd = await startContainerd(t, kind);
      await containerd.useMirror(stage.pipe.host, hostsToml(stage));
      await pullsWell(containerd, stage.name('team/app:1.0'));
      assert.ok(stage.pipe.traffic.toClient < 6_000_000 * 1.2, `${stage.pipe.traffic.toClient} bytes`);

      const other = await startContainerd(t, kind);
      await other.useMirror(stage.pipe.host, hostsToml(stage));
      const before = blobsAt(stage).length;
      await pullsWell(other, stage.name(`team/app@${image.manifest.digest}`));
      assert.equal(blobsAt(stage).length, before, 'the second engine gets all blobs from the mirror');
    },
  );

  test(`containerd (${kind}): a private image for whom the registry allows it alone`, { skip }, async (t) => {
    const tokens = await startTokenServer(t, { users: { alice: 'secret-of-alice' } });
    const stage = await openMirrorStage(t, { auth: tokens.auth });
    const image = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'a')] });
    await stage.push(image.manifest, 'team/app:1.0', tokens.authorization('repository:team/app:pull,push'));
    const name = stage.name('team/app:1.0');
    const [first, second] = [await startContainerd(t, kind), await startContainerd(t, kind)];
    for (const each of [first, second]) await each.useMirror(stage.pipe.host, hostsToml(stage));
    await pullsWell(first, name, 'alice:secret-of-alice');
    const before = blobsAt(stage).length;
    for (const creds of [undefined, 'alice:wrong', 'mallory:secret-of-alice']) {
      const output = await second.crictl('pull', ...(creds === undefined ? [] : ['--creds', creds]), name);
      assert.notEqual(output.code, 0, `${creds}: ${output.stdout}`);
    }
    assert.equal(blobsAt(stage).length, before);
    await pullsWell(second, name, 'alice:secret-of-alice');
    assert.equal(blobsAt(stage).length, before, 'from the mirror');
    assert.ok(!stage.mirror.process.stderr().includes('secret-of-alice'));
  });

  test(
    `containerd (${kind}): a mirror that was killed, before and in the middle of a body`,
    { skip },
    async (t) => {
      const stage = await openMirrorStage(t);
      const image = await stage.layout.addImage({ layers: [randomLayer(12_000_000, 'a')] });
      await stage.push(image.manifest, 'team/app:1.0');
      stage.pipe.link.bytesPerSecond = 3_000_000;
      const containerd = await startContainerd(t, kind);
      await containerd.useMirror(stage.pipe.host, hostsToml(stage));
      const pulling = containerd.crictl('pull', stage.name('team/app:1.0'));
      const isOver = pulling.then(() => true);
      while (stage.pipe.traffic.toClient < 3_000_000) {
        if (await Promise.race([isOver, sleep(20, false)])) break;
      }
      await stage.mirror.process.kill('SIGKILL');
      const output = await pulling;
      assert.equal(output.code, 0, output.stderr + containerd.log());
      const other = await startContainerd(t, kind);
      await other.useMirror(stage.pipe.host, hostsToml(stage));
      stage.pipe.link.bytesPerSecond = Infinity;
      await pullsWell(other, stage.name('team/app:1.0'));
    },
  );
}

async function pullsWell(
  containerd: Awaited<ReturnType<typeof startContainerd>>,
  name: string,
  creds?: string,
): Promise<void> {
  const output = await containerd.crictl('pull', ...(creds === undefined ? [] : ['--creds', creds]), name);
  assert.equal(output.code, 0, output.stderr + containerd.log());
}
