import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isQuayctlError, QuayctlError } from '../../src/base/errors.ts';
import { DockerClient } from '../../src/engines/docker-api/client.ts';
import { docker } from '../../src/engines/docker/docker.ts';
import type { Engine } from '../../src/engines/engine.ts';
import { ociDocuments, ociImage } from '../../src/engines/oci-archive.ts';
import { taggedName } from '../../src/image/reference.ts';
import { startBrokenUnpack } from '../helpers/broken-unpack.ts';
import { skipWithoutDockerd, startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { engineProgram } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import {
  fourLayers,
  layerDigests,
  loadOptions,
  MB,
  NEVER,
  newLayout,
  runnable,
  TestFeed,
} from './engine-images.ts';

test('an engine that only mentions a failed unpack is not believed: the load fails, and nothing gets a name', async (t) => {
  const socket = join(await tempDirectory(t, 'playback'), 'docker.sock');
  const names = await startBrokenUnpack(t, socket);
  const layout = await newLayout(t);
  const built = await layout.addImage({ layers: [randomLayer(1000, 'unpack')] });
  const image = await runnable(layout, built, 'quay.example/team/unpack:1');
  const engine = await docker.open({ env: { DOCKER_HOST: `unix://${socket}` }, options: {} });
  await assert.rejects(
    engine.load(image, new TestFeed(layout), loadOptions(image)),
    (error) =>
      isQuayctlError(error, 'engine') && /disk is full/.test(error.message) && /prune/.test(error.hint ?? ''),
  );
  assert.deepEqual(names(), []);
});

describe("containerd's store", { skip: skipWithoutDockerd('containerd') }, () => {
  const ends: (() => void | Promise<void>)[] = [];
  let dockerd: TestDockerd;

  before(async () => {
    dockerd = await startDockerd({ after: (end) => void ends.push(end) }, [], 'containerd');
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const open = (): Promise<Engine> => docker.open({ env: { DOCKER_HOST: dockerd.dockerHost }, options: {} });
  const images = async (): Promise<string> =>
    (await dockerd.docker('images', '--all', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}'))
      .stdout;

  test('a record without layers counts as absent, and the next pull mends it', async (t) => {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, 'mended');
    const [name] = loadOptions(image).names;
    assert.ok(name);
    // What a failed load of an earlier quayctl, or of `docker load`, leaves behind.
    const client = new DockerClient({ kind: 'socket', path: dockerd.socket });
    const documents = async function* (): AsyncGenerator<
      ReturnType<typeof ociDocuments> extends Generator<infer Part> ? Part : never
    > {
      yield* ociDocuments(ociImage(image, taggedName(name), true));
    };
    await assert.rejects(client.load(documents(), NEVER), /Error unpacking/);
    assert.match(await images(), /team\/mended:1/);

    const engine = await open();
    const presence = await engine.presence(image, NEVER);
    assert.deepEqual(presence, { image: false, layers: [false, false, false, false] });
    await engine.load(image, new TestFeed(layout), loadOptions(image, { presence }));
    assert.equal((await engine.presence(image, NEVER)).image, true);
    assert.equal((await dockerd.docker('create', '--network=none', taggedName(name), '/none')).code, 0);
  });

  test('an aborted load leaves no lease, so no blob stays that nothing shows', async (t) => {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, 'leased');
    const [first, second, third, last] = layerDigests(image);
    assert.ok(first && second && third && last);
    const leased = await leases(dockerd);
    for (const held of [[second, third, last], [last]]) {
      const stop = new AbortController();
      const feed = new TestFeed(layout, held);
      const sent = feed.whenStreamed(held.length > 1 ? first : third);
      const loading = (await open()).load(image, feed, loadOptions(image, { signal: stop.signal }));
      loading.catch(() => undefined);
      await sent;
      stop.abort(new QuayctlError('interrupted', 'SIGINT'));
      await assert.rejects(loading, (error) => isQuayctlError(error, 'interrupted'));
      assert.deepEqual(await leases(dockerd), leased);
    }
    assert.doesNotMatch(await images(), /leased/);
  });

  test("another platform's layers are unpacked while later ones arrive, and stay so", async (t) => {
    const layout = await newLayout(t);
    const layers = [9, 5, 5, 5].map((megabytes, at) => randomLayer(megabytes * MB, `foreign-${at}`));
    const architecture = process.arch === 'arm64' ? 'amd64' : 'arm64';
    const { index, images: platforms } = await layout.addIndex([{ layers, architecture }]);
    const [built] = platforms;
    assert.ok(built);
    const image = await runnable(layout, built, 'quay.example/team/foreign:1', index);
    const last = layerDigests(image).at(-1);
    assert.ok(last);
    const feed = new TestFeed(layout, [last]);
    const unpacked = Promise.withResolvers<void>();
    const onProgress = ({ done }: { readonly done: boolean }): void => {
      if (done) unpacked.resolve();
    };
    const loading = (await open()).load(image, feed, loadOptions(image, { onProgress }));
    loading.catch(unpacked.reject);
    await unpacked.promise;
    feed.arrive(last);
    await loading;
    const { text } = await dockerd.api('GET', '/images/quay.example/team/foreign:1/json?manifests=1');
    const { Manifests } = JSON.parse(text) as {
      Manifests: { ID: string; ImageData: { Size: { Unpacked: number } } }[];
    };
    const size = Manifests.find(({ ID }) => ID === built.manifest.digest)?.ImageData.Size.Unpacked ?? 0;
    assert.ok(size > 24 * MB, text);
    assert.equal((await images()).match(/foreign/g)?.length, 1);
    assert.ok(!(await images()).includes(built.manifest.digest));
  });

  test('a shared base that is removed meanwhile is told, and the image gets no name', async (t) => {
    const layout = await newLayout(t);
    const shared = ['one', 'two'].map((seed) => randomLayer(2 * MB, `race-${seed}`));
    const first = await layout.addImage({ layers: [...shared, randomLayer(MB, 'race-first')] });
    const second = await layout.addImage({ layers: [...shared, randomLayer(MB, 'race-second')] });
    const base = await runnable(layout, first, 'quay.example/team/race:first');
    const image = await runnable(layout, second, 'quay.example/team/race:second');
    const engine = await open();
    await engine.load(base, new TestFeed(layout), loadOptions(base));
    const presence = await engine.presence(image, NEVER);
    assert.deepEqual(presence.layers, [true, true, false]);
    await dockerd.docker('rmi', 'quay.example/team/race:first');
    const feed = new TestFeed(layout);
    feed.lose(layerDigests(image)[0]);
    await assert.rejects(
      engine.load(image, feed, loadOptions(image, { presence })),
      (error) => isQuayctlError(error, 'engine') && error.hint === 'pull it again',
    );
    assert.doesNotMatch(await images(), /race/);
  });
});

async function leases(dockerd: TestDockerd): Promise<string[]> {
  const address = join(dockerd.socket, '../exec/containerd/containerd.sock');
  const list = await mustRun(engineProgram('ctr'), [
    '--address',
    address,
    '--namespace',
    'moby',
    'leases',
    'ls',
    '--quiet',
  ]);
  return list.split('\n').filter(Boolean).sort();
}
