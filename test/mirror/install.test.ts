import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer, request } from 'node:https';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import { readIdentity } from '../../src/mirror/identity.ts';
import { makeCertificate, type TestCertificate } from '../helpers/certificate.ts';
import { skipWithoutContainerd, startContainerd } from '../helpers/containerd.ts';
import { skipWithoutDockerd, startDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { ownEtc, type OwnEtc } from '../helpers/own-etc.ts';
import type { Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { openMirrorStage, type MirrorStage } from './kit.ts';
import { inPath, podmanOf } from './podman.ts';

const ALICE = 'alice:secret-of-alice';
const BASIC = `Basic ${Buffer.from(ALICE).toString('base64')}`;

/** A private image on a registry that asks for a password, and a mirror with a key. */
async function privateStage(
  t: TestContext,
  flags: (nodeAuth: string) => readonly string[] = () => [],
): Promise<{ readonly stage: MirrorStage; readonly identity: string }> {
  const identity = join(await tempDirectory(t, 'identity'), 'mirror.pem');
  const [username = '', password = ''] = ALICE.split(':');
  const auth = { kind: 'htpasswd', username, password } as const;
  const nodeAuth = join(await tempDirectory(t, 'auth'), 'config.json');
  const stage = await openMirrorStage(t, { auth }, ['--identity', identity, ...flags(nodeAuth)]);
  await writeFile(nodeAuth, configJson(stage));
  const image = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0', BASIC);
  return { stage, identity };
}

/** Of Docker, with the password for the stage's registry. */
function configJson({ pipe }: MirrorStage): string {
  return JSON.stringify({ auths: { [pipe.host]: { auth: Buffer.from(ALICE).toString('base64') } } });
}

interface Installed {
  readonly stage: MirrorStage;
  readonly etc: OwnEtc;
  /** `quayctl mirror ARGS` on that machine. */
  readonly quayctl: (...args: readonly string[]) => Promise<Output>;
  readonly name: string;
}

/** The same, with settings of a machine's own. */
async function open(...[t, flags]: Parameters<typeof privateStage>): Promise<Installed> {
  const etc = await ownEtc(t);
  const { stage, identity } = await privateStage(t, flags);
  const node = await quayctlNode(t, { launcher: etc.launcher });
  const own = ['--registry', stage.pipe.host, '--listen', stage.mirror.host, '--identity', identity];
  return {
    stage,
    etc,
    quayctl: (...args) => node.run(['mirror', ...args, ...(args[0] === 'install' ? own : [])]),
    name: stage.name('team/app:1.0'),
  };
}

/** In the mirror's place. */
interface Squatter {
  /** What it was shown. */
  readonly shown: readonly string[];
  readonly connections: number;
  close(): void;
}

async function squat(port: number, certificate: TestCertificate | undefined): Promise<Squatter> {
  const shown: string[] = [];
  let connections = 0;
  const answer: RequestListener = ({ headers }, response) => {
    shown.push(headers.authorization ?? 'nothing');
    response.writeHead(401, { 'www-authenticate': 'Basic realm="the registry"' }).end();
  };
  const server =
    certificate === undefined
      ? createServer(answer)
      : createTlsServer({ cert: certificate.certificatePem, key: certificate.keyPem }, answer);
  server.on('connection', () => connections++);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    shown,
    get connections() {
      return connections;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const engines = skipWithoutContainerd('debian', 'docker-registry', 'podman', 'htpasswd');

test(
  'containerd and podman by install; then squatters, with another key and without TLS, see no password',
  { skip: engines },
  async (t) => {
    const { stage, etc, quayctl, name } = await open(t);
    const { mirror, pipe } = stage;
    await etc.write(
      '/etc/containers/registries.conf.d/50-own.conf',
      `[[registry]]\nlocation = "${pipe.host}"\ninsecure = true\n`,
    );
    const [first, second] = [
      await startContainerd(t, 'debian', etc),
      await startContainerd(t, 'debian', etc),
    ];
    const before = await filesOf(etc);
    succeeds(await quayctl('install', '--containerd', '--podman'));
    assert.equal((await first.crictl('pull', '--creds', ALICE, name)).code, 0, first.log());
    for (const creds of [[], ['--creds', 'alice:wrong']]) {
      assert.notEqual((await second.crictl('pull', ...creds, name)).code, 0, creds.join());
    }
    const podman = await podmanOf(t, etc);
    await podman.login(`${mirror.host}/${inPath(pipe.host)}`, 'alice', 'secret-of-alice');
    succeeds(await podman.pull(name));
    assert.match(mirror.process.stderr(), /GET \/v2\/team\/app\/blobs\/\S+ 200/);
    assert.match(mirror.process.stderr(), /GET \/v2\/127\S+\/team\/app\/blobs\/\S+ 200/);

    await mirror.process.kill('SIGKILL');
    for (const certificate of [await makeCertificate(t), undefined]) {
      const squatter = await squat(Number(mirror.host.split(':')[1]), certificate);
      assert.equal((await second.crictl('pull', '--creds', ALICE, name)).code, 0, second.log());
      succeeds(await (await podmanOf(t, etc)).pull(name, '--creds', ALICE));
      squatter.close();
      assert.deepEqual(squatter.shown, [], 'no request got past the handshake');
      assert.ok(squatter.connections > 1, 'and both engines have tried');
    }

    const refused = await quayctl('install', '--containerd');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /no mirror answers/);
    succeeds(await quayctl('uninstall'));
    assert.deepEqual(await filesOf(etc), before);
  },
);
test(
  'Docker with the containerd store: a private image by --node-auth, for those alone who show the secret',
  { skip: skipWithoutDockerd('containerd', 'docker-registry', 'htpasswd') },
  async (t) => {
    const { stage, etc, quayctl, name } = await open(t, (file) => ['--node-auth', file]);
    await etc.write('/etc/docker/daemon.json', '{"features": {"containerd-snapshotter": true}}');
    succeeds(await quayctl('install', '--docker'));
    const docker = await startDockerd(t, [], 'containerd', etc.launcher);
    const config = await tempDirectory(t, 'docker');
    await writeFile(join(config, 'config.json'), configJson(stage));
    succeeds(await docker.docker('--config', config, 'pull', '--quiet', name));
    assert.match(stage.mirror.process.stderr(), /GET \/v2\/team\/app\/blobs\/\S+ 200/);
    assert.notEqual((await docker.docker('pull', '--quiet', stage.name('team/app:2.0'))).code, 0);
    assert.ok(!stage.mirror.process.stderr().includes('secret-of-alice'));
  },
);

test(
  'the secret opens what --node-auth allows; without it the registry’s refusal is handed on',
  { skip: skipWithout('docker-registry', 'htpasswd') },
  async (t) => {
    const { stage, identity } = await privateStage(t, (file) => ['--node-auth', file]);
    const found = await readIdentity(identity);
    assert.ok(found !== undefined);
    const ask = async (headers: Record<string, string>): Promise<number> => {
      const url = new URL(`${stage.mirror.url}/v2/team/app/manifests/1.0?ns=${stage.pipe.host}`);
      const asking = request(url, { ca: found.certificate, agent: false, method: 'HEAD', headers });
      asking.end();
      const [answer] = (await once(asking, 'response')) as [IncomingMessage];
      answer.resume();
      return answer.statusCode ?? 0;
    };
    const accept = MANIFEST_TYPES.join(', ');
    assert.equal(await ask({ accept, 'x-quayctl-mirror': found.secret }), 200);
    assert.equal(await ask({ accept }), 401);
    assert.equal(await ask({ accept, 'x-quayctl-mirror': found.secret.toLowerCase() }), 401);
    const wrong = `Basic ${Buffer.from('alice:wrong').toString('base64')}`;
    assert.equal(await ask({ accept, 'x-quayctl-mirror': found.secret, authorization: wrong }), 401);
  },
);

function succeeds(output: Output): void {
  assert.equal(output.code, 0, output.stderr);
}

async function filesOf({ changes }: OwnEtc): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ['etc', 'lib']) {
    for (const entry of await readdir(join(changes, folder), { recursive: true, withFileTypes: true })) {
      // podman's own, which it makes when it runs.
      if (/cni\.lock|blob-info-cache/.test(entry.name)) continue;
      if (entry.isFile()) found.push(join(entry.parentPath, entry.name));
    }
  }
  return found.toSorted();
}
