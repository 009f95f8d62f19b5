import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { BlobFeed, Engine } from '../../src/engines/engine.ts';
import { docker } from '../../src/engines/docker/docker.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import type { Digest } from '../../src/image/digest.ts';
import type { RunnableImage } from '../../src/image/manifest.ts';
import { fetchAttestations } from '../../src/pull/attestations.ts';
import { skipWithoutDockerd, startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { randomLayer, TestLayout, type BuiltDescriptor, type BuiltImage } from '../helpers/images.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { mustRun } from '../helpers/processes.ts';
import { engineProgram } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { loadOptions, MB, NEVER, runnable, TestFeed } from './engine-images.ts';

/**
 * What an image looks like after quayctl has loaded it, beside what it looks like in a second daemon after `docker
 * pull`, on containerd's store. docs/failures.md lists the differences that this test leaves out.
 */
describe('beside docker pull', { skip: skipWithoutDockerd('containerd', 'docker-registry') }, () => {
  const ends: (() => void | Promise<void>)[] = [];
  const scope = { after: (end: () => void | Promise<void>): void => void ends.push(end) };
  let registry: TestRegistry;
  let pulled: TestDockerd;
  let loaded: TestDockerd;
  let layout: TestLayout;
  let plain: BuiltImage;
  let index: BuiltDescriptor;
  let platforms: readonly BuiltImage[];

  before(async () => {
    registry = await startRegistry(scope);
    layout = await TestLayout.create(await tempDirectory(scope, 'like-pull'));
    [pulled, loaded] = await Promise.all([
      startDockerd(scope, [], 'containerd'),
      startDockerd(scope, [], 'containerd'),
    ]);
    plain = await layout.addImage({ layers: [randomLayer(6 * MB, 'base'), randomLayer(MB, 'top')] });
    const built = await layout.addIndex([
      { layers: [randomLayer(6 * MB, 'amd-base'), randomLayer(MB, 'amd-top')] },
      { layers: [randomLayer(MB, 'arm')], architecture: 'arm64' },
    ]);
    index = built.index;
    platforms = built.images;
    await pushImage(layout, plain.manifest, { url: registry.url, repository: 'team/plain', tag: '1' });
    await pushImage(layout, index, { url: registry.url, repository: 'team/index', tag: '1' });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  // However a test ends: the next one begins with nothing.
  afterEach(removeAll);

  function open(): Promise<Engine> {
    return docker.open({ env: { DOCKER_HOST: loaded.dockerHost }, options: {} });
  }

  /** The image of a reference into one daemon as quayctl does it, into the other one by `docker pull`. */
  async function both(
    name: string,
    built: BuiltImage,
    of?: BuiltDescriptor,
    platform?: string,
    inner?: BuiltDescriptor,
  ): Promise<RunnableImage> {
    const image = await runnable(layout, built, `${registry.host}/${name}`, of, inner);
    const engine = await open();
    const presence = await engine.presence(image, NEVER);
    await engine.load(image, feedOf(image), loadOptions(image, { presence }));
    const flags = platform === undefined ? [] : ['--platform', platform];
    const { code, stderr } = await pulled.docker('pull', ...flags, `${registry.host}/${name}`);
    assert.equal(code, 0, stderr);
    return image;
  }

  /** As the pull gives it out, with the layout for a registry. */
  function feedOf(image: RunnableImage): BlobFeed {
    const feed = new TestFeed(layout);
    const repository = {
      manifest: async (digest: string) => {
        const bytes = await layout.blob(digest);
        const { mediaType } = JSON.parse(bytes.toString()) as { mediaType: string };
        return { descriptor: { mediaType, digest: digest as Digest, size: bytes.length }, bytes };
      },
      async *blob({ digest }: Descriptor) {
        yield await layout.blob(digest);
      },
    };
    return {
      ready: (digest) => feed.ready(digest),
      stream: (digest) => feed.stream(digest),
      attestations: (signal) => fetchAttestations(image, repository, signal),
    };
  }

  /** What both daemons say of the same question; times and Docker's own note of a pull left out. */
  async function assertSame(path: string, without: readonly string[] = []): Promise<void> {
    const [ours, theirs] = await Promise.all([loaded.api('GET', path), pulled.api('GET', path)]);
    assert.deepEqual(comparable(ours.text, without), comparable(theirs.text, without), path);
    assert.equal(ours.status, theirs.status, path);
  }

  async function removeAll(): Promise<void> {
    for (const daemon of [loaded, pulled]) {
      const { stdout } = await daemon.docker('images', '--all', '--quiet');
      for (const id of new Set(stdout.split('\n').filter(Boolean))) await daemon.docker('rmi', '--force', id);
      assert.deepEqual(JSON.parse((await daemon.api('GET', '/images/json?all=1')).text), []);
    }
  }

  test('a plain image: inspection, list, history, and nothing left after rmi', async () => {
    const image = await both('team/plain:1', plain);
    const name = `${registry.host}/team/plain:1`;
    await assertSame(`/images/${name}/json?manifests=1`);
    await assertSame(`/images/${registry.host}/team/plain@${image.document.descriptor.digest}/json`);
    await assertSame('/images/json?all=1&digests=1&manifests=1');
    await assertSame(`/images/${name}/history`);
  });

  test('an image of an index is recorded by the index, and a second platform beside the first', async () => {
    const [amd, arm] = platforms;
    assert.ok(amd && arm);
    await both('team/index:1', amd, index);
    const name = `${registry.host}/team/index:1`;
    await assertSame(`/images/${name}/json?manifests=1`);
    await assertSame(`/images/${registry.host}/team/index@${index.digest}/json`);
    await assertSame('/images/json?all=1&digests=1');
    await both('team/index:1', arm, index, 'linux/arm64');
    await assertSame('/images/json?all=1&digests=1&manifests=1');
    await assertSame(`/images/${name}/json?manifests=1`);
  });

  test('a platform that the engine does not run is unpacked, too', async () => {
    const [, arm] = platforms;
    assert.ok(arm);
    await both('team/index:1', arm, index, 'linux/arm64');
    await assertSame('/images/json?all=1&digests=1&manifests=1');
    await assertSame(`/images/${registry.host}/team/index:1/json?manifests=1`);
  });

  test('an index in an index', async () => {
    const [amd] = platforms;
    assert.ok(amd);
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const manifests = [{ ...index, platform: amd.manifest.platform }];
    const outer = await layout.addJson(mediaType, { schemaVersion: 2, mediaType, manifests });
    await pushImage(layout, outer, { url: registry.url, repository: 'team/nested', tag: '1' });
    await both('team/nested:1', amd, outer, undefined, index);
    await assertSame('/images/json?all=1&digests=1&manifests=1');
    await assertSame(`/images/${registry.host}/team/nested:1/json?manifests=1`);
  });

  test('the attestation of the platform is kept, with all of its blobs, and that of another one is not', async () => {
    const images = [
      await layout.addImage({ layers: [randomLayer(MB, 'attested-amd')] }),
      await layout.addImage({ layers: [randomLayer(MB, 'attested-arm')], architecture: 'arm64' }),
    ];
    const attestations: BuiltDescriptor[] = [];
    const manifests: unknown[] = images.map(({ manifest }) => manifest);
    for (const { manifest } of images) {
      const attestation = await addAttestation(layout, manifest.digest);
      attestations.push(attestation);
      const annotations = {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': manifest.digest,
      };
      const platform = { architecture: 'unknown', os: 'unknown' };
      manifests.push({ ...attestation, annotations, platform });
    }
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const attested = await layout.addJson(mediaType, { schemaVersion: 2, mediaType, manifests });
    await pushImage(layout, attested, { url: registry.url, repository: 'team/attested', tag: '1' });
    const [amd] = images;
    assert.ok(amd);
    // At first without: what an earlier pull has left out is added.
    const bare = await runnable(layout, amd, `${registry.host}/team/attested:1`, attested);
    await (await open()).load(bare, new TestFeed(layout), loadOptions(bare));
    const without = await blobsIn(loaded);
    assert.equal(attestations.filter(({ digest }) => without.includes(digest)).length, 0);
    await both('team/attested:1', amd, attested);
    await assertSame(`/images/${registry.host}/team/attested:1/json?manifests=1`);
    await assertSame('/images/json?all=1&digests=1&manifests=1');
    const [ours, theirs] = await Promise.all([blobsIn(loaded), blobsIn(pulled)]);
    assert.deepEqual(ours, theirs);
    const [own, other] = attestations;
    assert.deepEqual([ours.includes(own?.digest ?? ''), ours.includes(other?.digest ?? '')], [true, false]);
  });

  test('by an index digest: the same name, and none of quayctl', async () => {
    const [amd] = platforms;
    assert.ok(amd);
    await both(`team/index@${index.digest}`, amd, index);
    const list = async (daemon: TestDockerd): Promise<string> =>
      (
        await daemon.docker(
          'images',
          '--all',
          '--digests',
          '--format',
          '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}',
        )
      ).stdout;
    assert.equal(await list(loaded), await list(pulled));
    assert.doesNotMatch((await loaded.api('GET', '/images/json?all=1')).text, /quayctl/);
  });

  test('pulling by docker what quayctl has loaded, and the other way round, changes nothing', async () => {
    const [amd] = platforms;
    assert.ok(amd);
    const image = await both('team/index:1', amd, index);
    const listed = await loaded.docker('images', '--all', '--no-trunc');
    const again = await loaded.docker('pull', `${registry.host}/team/index:1`);
    assert.match(again.stdout, /Image is up to date/);
    assert.equal((await loaded.docker('images', '--all', '--no-trunc')).stdout, listed.stdout);
    const engine = await docker.open({ env: { DOCKER_HOST: pulled.dockerHost }, options: {} });
    assert.equal((await engine.presence(image, NEVER)).image, true);
  });

  test('docker image prune takes the same of an image that has lost its name, and leaves nothing', async () => {
    const [amd] = platforms;
    assert.ok(amd);
    await both('team/index:1', amd, index);
    await both('team/plain:1', plain);
    const [lost, kept] = [`${registry.host}/team/index:1`, `${registry.host}/team/plain:1`];
    for (const daemon of [loaded, pulled]) await daemon.docker('tag', kept, lost);
    await assertSame('/images/json?all=1&digests=1');
    const pruned = async (daemon: TestDockerd): Promise<string[]> => {
      const { text } = await daemon.api('POST', '/images/prune');
      const { ImagesDeleted } = JSON.parse(text) as { ImagesDeleted: object[] | null };
      return (ImagesDeleted ?? []).map((image) => JSON.stringify(image)).sort();
    };
    assert.deepEqual(await pruned(loaded), await pruned(pulled));
    await assertSame('/images/json?all=1&digests=1');
    assert.deepEqual(await blobsIn(loaded), await blobsIn(pulled));
  });

  test('saved and loaded elsewhere it is the same image, and prune takes what has lost its name', async () => {
    await both('team/plain:1', plain);
    const name = `${registry.host}/team/plain:1`;
    const directory = await tempDirectory(scope, 'saved');
    for (const daemon of [loaded, pulled]) {
      const saved = await daemon.docker('save', '--output', `${directory}/image.tar`, name);
      assert.equal(saved.code, 0, saved.stderr);
      assert.equal((await daemon.docker('push', name)).code, 0);
      await daemon.docker('tag', name, 'kept:1');
      await daemon.docker('rmi', name);
      await daemon.docker('rmi', 'kept:1');
      assert.deepEqual(JSON.parse((await daemon.api('GET', '/images/json?all=1')).text), []);
    }
  });
});

/** As buildkit writes it: a manifest of one statement in in-toto's form. */
async function addAttestation(layout: TestLayout, subject: string): Promise<BuiltDescriptor> {
  const statement = await layout.addJson('application/vnd.in-toto+json', { subject });
  const config = await layout.addJson('application/vnd.oci.image.config.v1+json', {
    architecture: 'unknown',
    os: 'unknown',
    config: {},
    rootfs: { type: 'layers', diff_ids: [statement.digest] },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  return layout.addJson(mediaType, { schemaVersion: 2, mediaType, config, layers: [statement] });
}

/** Digests of what lies in containerd's store. */
async function blobsIn({ socket }: TestDockerd): Promise<string[]> {
  const address = join(socket, '../exec/containerd/containerd.sock');
  const args = ['--address', address, '--namespace', 'moby', 'content', 'ls', '--quiet'];
  return (await mustRun(engineProgram('ctr'), args)).split('\n').filter(Boolean).sort();
}

/**
 * Without fields that say when, and `Identity`, in which Docker notes that it pulled by itself. Docker sorts its list of
 * images by their time alone, and looks at all of them at once: those of the same second come in any order.
 */
function comparable(text: string, without: readonly string[]): unknown {
  const left = ['LastTagTime', 'Created', 'Identity', 'Containers', ...without];
  const answer: unknown = JSON.parse(text, (key: string, value: unknown) =>
    left.includes(key) ? undefined : value,
  );
  return isImageList(answer) ? answer.toSorted((one, other) => one.Id.localeCompare(other.Id)) : answer;
}

function isImageList(answer: unknown): answer is readonly { Id: string }[] {
  return Array.isArray(answer) && answer.every((each) => 'RepoTags' in (each as object));
}
