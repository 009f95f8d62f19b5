import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { isQuayctlError, QuayctlError } from '../../src/base/errors.ts';
import type { Engine, FileFeed, LoadOptions } from '../../src/engines/engine.ts';
import type { Digest } from '../../src/image/digest.ts';
import { NEVER, type TestFeed } from './engine-images.ts';

/** An image of the kind that an engine takes. */
export interface SampleImage<Image> {
  readonly image: Image;
  /** What the engine calls it; by its own command line a name leads to it. */
  readonly id: string;
  readonly name: string;
  /** The blobs that the engine reads, in the order in which it wants them. */
  readonly blobs: readonly Digest[];
  /** The engine is not given any of them before all are here. */
  readonly wantsAll?: boolean;
  /** @param held are not ready yet */
  readonly feed: (held?: readonly Digest[]) => TestFeed;
  readonly options: (more?: Partial<LoadOptions>) => LoadOptions;
}

/** A real engine, as what holds for all of them is asked of it. */
export interface AnyEngine<Image> {
  open(): Promise<Engine<Image, FileFeed>>;
  /** The same for the same seed. */
  sample(t: TestContext, seed: string): Promise<SampleImage<Image>>;
  /** The image that a name stands for, by the engine's own command line. */
  imageId(name: string): Promise<string>;
  /** Images, named or not, are the same after as before. */
  leavesNothing(work: () => Promise<unknown>): Promise<void>;
}

type Holds<Image> = (name: string, body: (engine: AnyEngine<Image>, t: TestContext) => Promise<void>) => void;

/** What holds for every engine, whatever its images are. */
export function everyEngine<Image>(holds: Holds<Image>): void {
  holds('its platform is this machine', async (engine) => {
    const opened = await engine.open();
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    assert.deepEqual(await opened.platform(NEVER), { os: 'linux', architecture });
  });

  holds('an image gets its name and its ID, and is not sent again', async (engine, t) => {
    const { image, id, name, blobs, feed, options } = await engine.sample(t, 'named');
    const opened = await engine.open();
    assert.equal((await opened.presence(image, NEVER)).image, false);
    const read = feed();
    const loaded = await opened.load(image, read, options());
    assert.equal(loaded.id, id);
    assert.equal(await engine.imageId(name), id);
    assert.deepEqual(new Set(read.streamed), new Set(blobs));

    const presence = await opened.presence(image, NEVER);
    assert.equal(presence.image, true);
    const unread = feed(blobs);
    assert.equal((await opened.load(image, unread, options({ presence }))).id, id);
    assert.deepEqual(unread.streamed, []);
  });

  holds('two loads of one image at the same time both succeed', async (engine, t) => {
    const { image, id, name, feed, options } = await engine.sample(t, 'both');
    const load = async (): Promise<unknown> => (await engine.open()).load(image, feed(), options());
    await Promise.all([load(), load()]);
    assert.equal(await engine.imageId(name), id);
  });

  holds(
    'a blob that never comes ends the load with its own error, and nothing is left',
    async (engine, t) => {
      const sample = await engine.sample(t, 'never');
      const { image, blobs, feed, options } = sample;
      const [before, last] = blobs.slice(-2);
      assert.ok(before && last);
      const held = feed([last]);
      const failure = new QuayctlError('unreachable', 'the registry is gone');
      await engine.leavesNothing(async () => {
        const begun = underWay(sample, held, before, last);
        const loading = (await engine.open()).load(image, held, options());
        loading.catch(() => undefined);
        await begun;
        held.fail(last, failure);
        await assert.rejects(loading, (error) => error === failure);
      });
    },
  );

  holds('an abort ends the load within seconds, and nothing is left', async (engine, t) => {
    const sample = await engine.sample(t, 'abort');
    const { image, blobs, feed, options } = sample;
    // With the last blob the engine may have the image whole before it hears of the abort.
    for (const [at, blob] of blobs.slice(0, -1).entries()) {
      await engine.leavesNothing(async () => {
        const stop = new AbortController();
        const [next, ...later] = blobs.slice(at + 1);
        assert.ok(next);
        const held = feed([next, ...later]);
        const begun = underWay(sample, held, blob, next);
        const loading = (await engine.open()).load(image, held, options({ signal: stop.signal }));
        loading.catch(() => undefined);
        await begun;
        stop.abort(new QuayctlError('interrupted', 'SIGINT'));
        const begin = performance.now();
        await assert.rejects(loading, (error) => isQuayctlError(error, 'interrupted'));
        assert.ok(performance.now() - begin < 10_000);
      });
    }
  });
}

/** Until the last blob that is here is read; where an engine wants all of them first, until it waits for the next one. */
function underWay(
  { wantsAll = false }: { wantsAll?: boolean },
  feed: TestFeed,
  here: Digest,
  next: Digest,
): Promise<void> {
  return wantsAll ? feed.whenAwaited(next) : feed.whenStreamed(here);
}
