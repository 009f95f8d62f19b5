import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { pull } from '../../src/pull/pull.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';
import { contentOf, HASHING, MIB, never, NO_TORRENT, torrentOf } from '../blobs/kit.ts';
import { MemoryEngine, MemoryImage, PullStage, REFERENCE } from './kit.ts';

const LAYERS = [contentOf(4 * MIB, 'one'), contentOf(3 * MIB, 'two'), contentOf(1000, 'three')];

test('an image goes into an engine, base layer first, while later layers still arrive', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  stage.chunkMs = 10;
  const image = new MemoryImage(LAYERS);
  const engine = new MemoryEngine();
  const request = stage.request({ destination: { kind: 'engine' } });
  const receipt = await time.until(pull(request, stage.context(image, engine), never));
  assert.deepEqual(
    engine.loaded,
    image.layers.map(({ digest }) => digest),
  );
  assert.equal(receipt.engine, 'memory');
  assert.equal(receipt.total.fromRegistry, receipt.total.size);
  assert.deepEqual(stage.recorded, [REFERENCE]);
});

test('what the engine has is neither fetched nor seeded', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  const image = new MemoryImage(LAYERS);
  const engine = new MemoryEngine();
  engine.has = { image: false, layers: [true, false, false] };
  const request = stage.request({ destination: { kind: 'engine' }, seedMs: 1000 });
  const { total } = await time.until(pull(request, stage.context(image, engine), never));
  assert.equal(total.alreadyInEngine, LAYERS[0]?.length);
  assert.ok(!stage.asked.includes(image.layers[0]?.digest ?? ('' as never)));
  const warnings = stage.told.flatMap((event) => (event.kind === 'warning' ? [event.message] : []));
  assert.equal(
    warnings.filter((message) => message.startsWith('not seeding')).length,
    3,
    'config and two layers have no torrent; the layer in the engine is no matter',
  );
});

test('a line for the whole pull says rate and time left, also when the registry alone delivers', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  stage.chunkMs = 100;
  const pulling = pull(stage.request(), stage.context(new MemoryImage(LAYERS)), never);
  await time.advance(4000);
  const last = stage.told.findLast((event) => event.kind === 'pull-progress')?.progress;
  assert.ok(last !== undefined);
  const size = LAYERS.reduce((sum, { length }) => sum + length, 0);
  assert.ok(last.size > size && last.size < size + 1000, 'config and layers');
  // 64 KiB in 100 ms for each of the two large layers.
  assert.ok(last.downloadRate > 600_000 && last.downloadRate < 1_700_000, `${last.downloadRate} B/s`);
  assert.equal(last.etaSeconds, (last.size - last.received) / last.downloadRate);
  await time.until(pulling);
  assert.equal(
    stage.told.findLast((event) => event.kind === 'pull-progress')?.progress.etaSeconds === undefined,
    false,
  );
});

test('one layer that fails does not stop the others, and its error is what the user is told', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  const image = new MemoryImage(LAYERS);
  const wrong = image.layers[1]?.digest;
  assert.ok(wrong !== undefined);
  image.blobs.set(wrong, contentOf(3 * MIB, 'other'));
  await assert.rejects(time.until(pull(stage.request(), stage.context(image), never)), {
    code: 'verification',
  });
  for (const { digest } of image.layers) {
    assert.equal((await stage.store.stat(digest)) === undefined, digest === wrong, digest);
  }
  assert.deepEqual(stage.recorded, []);
});

test('when the registry is gone, no further layer is begun', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  stage.chunkMs = 10;
  const image = new MemoryImage(Array.from({ length: 5 }, (_, at) => contentOf(20 * MIB, String(at))));
  const pulling = pull(stage.request(), stage.context(image), never);
  pulling.catch(() => undefined);
  await time.advance(500);
  stage.failing = new QuayctlError('unreachable', 'the registry is gone');
  await assert.rejects(time.until(pulling), { code: 'unreachable' });
  assert.ok(new Set(stage.asked).size <= 3, 'the config, one layer, and perhaps the one that overlaps it');
});

test('an engine that fails ends the downloads, and what has arrived stays', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  stage.chunkMs = 20;
  const image = new MemoryImage([contentOf(1000, 'small'), contentOf(30 * MIB, 'large')]);
  const engine = new MemoryEngine();
  engine.failure = new QuayctlError('engine', 'the engine died');
  const request = stage.request({ destination: { kind: 'engine' } });
  await assert.rejects(time.until(pull(request, stage.context(image, engine), never)), { code: 'engine' });
  assert.ok(time.now < 5000, 'nobody waits for the large layer');
  const [, large] = image.layers;
  assert.ok(large !== undefined);
  const partial = await stage.store.begin(large, never);
  assert.ok(partial !== 'present');
});

test('two sizes for one digest are an error of the manifest, before anything is fetched', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  const image = new MemoryImage(LAYERS, (manifest) => {
    const [first] = manifest.layers;
    if (first !== undefined) manifest.layers.push({ ...first, size: first.size + 1 });
  });
  await assert.rejects(time.until(pull(stage.request(), stage.context(image), never)), {
    code: 'protocol',
    message: /states two sizes for sha256:/,
  });
  assert.deepEqual(stage.asked, []);
});

test('after the pull the blobs are seeded; those without a torrent are named with the reason', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  const image = new MemoryImage(LAYERS);
  const [one, two, three] = image.layers;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  stage.answers.set(one.digest, [NO_TORRENT, torrentOf(LAYERS[0] ?? Buffer.of())]);
  stage.answers.set(two.digest, [HASHING, HASHING, torrentOf(LAYERS[1] ?? Buffer.of())]);
  stage.answers.set(three.digest, [torrentOf(contentOf(999))]);
  const pulling = pull(stage.request({ seedMs: 10_000 }), stage.context(image), never);
  await time.until(pulling);
  const seeding = stage.told.find((event) => event.kind === 'seeding');
  assert.deepEqual(seeding, { kind: 'seeding', blobs: 2, durationMs: 10_000 });
  const warnings = stage.told.flatMap((event) => (event.kind === 'warning' ? [event.message] : []));
  const about = (digest: string): string | undefined =>
    warnings.find((text) => text.startsWith(`not seeding ${digest.slice(0, 19)}`));
  assert.match(about(three.digest) ?? '', /^not seeding sha256:\S+ torrent of sha256:\S+ refused/);
  await stage.downloads.close();
});

test('a swarm that cannot be joined is no failure of the pull', async (t) => {
  const time = new VirtualTime(t);
  const stage = new PullStage();
  const image = new MemoryImage([contentOf(1000, 'small')]);
  const [layer] = image.layers;
  assert.ok(layer !== undefined);
  stage.answers.set(layer.digest, [torrentOf(contentOf(1000, 'small'))]);
  stage.swarm.joinFailure = new QuayctlError('protocol', 'not this torrent');
  await time.until(pull(stage.request({ seedMs: 1000 }), stage.context(image), never));
  const warnings = stage.told.flatMap((event) => (event.kind === 'warning' ? [event.message] : []));
  assert.ok(
    warnings.some((text) => text.endsWith('not this torrent')),
    warnings.join('\n'),
  );
});
