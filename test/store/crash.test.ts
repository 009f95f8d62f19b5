import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { openStore } from '../../src/store/open-store.ts';
import { thisProcess } from '../../src/store/owner.ts';
import type { Store } from '../../src/store/store.ts';
import { FileRecorder, type RecordedChange } from '../helpers/crash-recorder.ts';
import { crashStates, putOnDisk, type DiskState } from '../helpers/crash-states.ts';
import { Random } from '../helpers/fuzz.ts';
import { removeTree, tempDirectory } from '../helpers/temp.ts';
import { patience, randomBlob, type TestBlob } from './blobs.ts';
import { imageOf, isWhole, pullInto, type TestImage } from './resolved.ts';

/** States in which the next start is really tried, for each story; every state's blobs are hashed. */
const STARTS = Number(process.env['CRASH_STARTS'] ?? 120);
const CHUNK = 1500;

/** What a run of quayctl did, and what must be true after any crash in it. */
interface Story {
  readonly base: readonly RecordedChange[];
  readonly changes: readonly RecordedChange[];
  /** Digest -> after so many changes `commit` had said that the blob is there. */
  readonly promised: ReadonlyMap<string, number>;
  readonly image: TestImage;
  readonly unfinished: TestBlob;
}

/** A first pull into an empty directory, or one into a store with another image in it; then a partial, then a gc. */
async function record(t: TestContext, { fresh }: { readonly fresh: boolean }): Promise<Story> {
  const directory = await tempDirectory(t, 'crash');
  const root = join(directory, 'store');
  const image = imageOf('registry.example/team/app:1.0', [randomBlob(4 * CHUNK), randomBlob(CHUNK)]);
  const unfinished = randomBlob(4 * CHUNK);
  if (!fresh) {
    const before = await openStore(root);
    await pullInto(before, imageOf('registry.example/team/old:1.0', [randomBlob(CHUNK)]));
    await before.close();
  }
  const { recorder, base } = await FileRecorder.start(t, fresh ? directory : root);
  const store = await openStore(root);
  const promised = new Map<string, number>();
  for (const blob of [image.config, ...image.layers]) {
    await writeInPieces(store, blob);
    promised.set(blob.descriptor.digest, recorder.changes.length);
  }
  await store.recordImage(image);
  const partial = await begun(store, unfinished);
  await partial.write(CHUNK, unfinished.bytes.subarray(CHUNK, 2 * CHUNK));
  await partial.write(3 * CHUNK, unfinished.bytes.subarray(3 * CHUNK));
  await partial.close();
  await store.gc(1);
  await store.close();
  return { base, changes: recorder.changes, promised, image, unfinished };
}

async function begun(store: Store, { descriptor }: TestBlob) {
  const partial = await store.begin(descriptor, patience());
  assert.ok(partial !== 'present');
  return partial;
}

/** Out of order, with a piece that was wrong at first. */
async function writeInPieces(store: Store, blob: TestBlob): Promise<void> {
  const partial = await begun(store, blob);
  const middle = Math.min(CHUNK, blob.bytes.length);
  await partial.write(middle, blob.bytes.subarray(middle));
  await partial.write(0, Buffer.alloc(middle, 0xee));
  await partial.discard({ start: 0, end: middle });
  await partial.write(0, blob.bytes.subarray(0, middle));
  await partial.commit();
  await partial.close();
}

/** Names of `blobs/sha256` whose content is another. */
function wrongBlobs(state: DiskState): string[] {
  return blobsIn(state).flatMap(([hex, content]) =>
    createHash('sha256').update(content).digest('hex') === hex ? [] : [hex],
  );
}

function blobsIn(state: DiskState): [string, Buffer][] {
  return [...state].flatMap(([path, node]) => {
    const hex = /(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    return hex !== undefined && node instanceof Buffer ? [[hex, node] as [string, Buffer]] : [];
  });
}

/** A pull's way with what it finds: takes up what is there, and when that does not verify begins anew. */
async function restarts(root: string, { image, unfinished }: Story): Promise<void> {
  const store = await openStore(root);
  try {
    await store.listImages();
    for (const blob of [image.config, ...image.layers, unfinished]) await finish(store, blob);
    await store.recordImage(image);
    assert.ok(await isWhole(store, image), 'the image is whole');
    assert.notEqual(await store.findImage(image.reference), undefined, 'and found by its name');
    await store.gc();
  } finally {
    await store.close();
  }
}

async function finish(store: Store, blob: TestBlob): Promise<void> {
  const partial = await store.begin(blob.descriptor, patience());
  if (partial === 'present') return;
  try {
    const fill = async (): Promise<void> => {
      for (let at = 0; at < blob.bytes.length; at += CHUNK) {
        const end = Math.min(at + CHUNK, blob.bytes.length);
        if (!partial.has(at, end)) await partial.write(at, blob.bytes.subarray(at, end));
      }
      await partial.commit();
    };
    await fill().catch(async (error: unknown) => {
      if (!isQuayctlError(error, 'verification')) throw error;
      await partial.discard();
      await fill();
    });
  } finally {
    await partial.close();
  }
}

/**
 * The process that was cut off is dead, whatever the kernel says about this one. A lease that the crash has torn says
 * nothing about its owner: then a lock is waited for until it has been silent for 30 s, as locks.test.ts shows.
 */
async function deadOwner(): Promise<(path: string, content: Buffer) => Buffer> {
  const dead = JSON.stringify({ ...(await thisProcess()), startTime: '0' });
  return (path, content) => (path.includes('leases/') ? Buffer.from(`${dead}\n`) : content);
}

for (const fresh of [true, false]) {
  const where = fresh ? 'the first pull of all' : 'a later pull';
  test(`a power cut during ${where}: no blob is wrong, what was promised is there, the next start works`, async (t) => {
    const story = await record(t, { fresh });
    const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
    const random = new Random(seed);
    const states = [...crashStates(story.base, story.changes, random)];
    t.diagnostic(`seed ${seed}: ${story.changes.length} changes, ${states.length} states`);
    for (const { after, state } of states) {
      assert.deepEqual(wrongBlobs(state), [], `seed ${seed}, after ${after} changes`);
      if (fresh) continue;
      const there = new Set(blobsIn(state).map(([hex]) => `sha256:${hex}`));
      for (const [digest, since] of story.promised) {
        if (after > since)
          assert.ok(there.has(digest), `seed ${seed}, after ${after}: ${digest} was promised`);
      }
    }
    const directory = await tempDirectory(t, 'restart');
    const bury = await deadOwner();
    const all = STARTS >= states.length;
    const tried = all ? states.keys() : Array.from({ length: STARTS }, () => random.below(states.length));
    for (const index of tried) {
      const { after, state } = states[index] ?? assert.fail();
      const root = await mkdtemp(join(directory, 'state-'));
      await putOnDisk(state, root, bury);
      try {
        await restarts(fresh ? join(root, 'store') : root, story);
      } catch (error) {
        throw new Error(`FUZZ_SEED=${seed}, state ${index}, after ${after} changes`, { cause: error });
      }
      await removeTree(root);
    }
  });
}

test('the simulator finds a store that forgets its fsync', async (t) => {
  const { base, changes } = await record(t, { fresh: false });
  const forgetful = changes.map(({ change }) => ({ change, durableFrom: Infinity }));
  const states = [...crashStates(base, forgetful, new Random(1))];
  assert.ok(states.some(({ state }) => wrongBlobs(state).length > 0));
});
