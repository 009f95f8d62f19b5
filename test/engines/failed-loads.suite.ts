import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../../src/base/errors.ts';
import { fourLayers, layerDigests, newLayout, TestFeed } from './engine-images.ts';
import type { Holds } from './engine-under-test.ts';

/** Loads that cannot succeed say why, and leave nothing. */
export function failedLoads(holds: Holds): void {
  holds('a layer that is not what the config names is refused, and nothing is left', async (engine, t) => {
    if (!engine.checksDiffIds) return t.diagnostic('this engine does not look');
    for (const wrong of [0, 2]) {
      const layout = await newLayout(t);
      const image = await fourLayers(layout, `wrong-${wrong}`, wrong);
      await engine.leavesNothing(() =>
        assert.rejects(engine.load(image, new TestFeed(layout)), (error) =>
          isQuayctlError(error, 'verification'),
        ),
      );
    }
  });

  holds(
    'a blob that never comes ends the load with its own error, and nothing is left',
    async (engine, t) => {
      const layout = await newLayout(t);
      const image = await fourLayers(layout, 'never');
      const last = image.manifest.layers.at(-1)?.digest;
      assert.ok(last);
      const feed = new TestFeed(layout, [last]);
      const failure = new QuayctlError('unreachable', 'the registry is gone');
      await engine.leavesNothing(async () => {
        const loading = engine.load(image, feed);
        await Promise.race([feed.whenStreamed(image.manifest.layers[2]?.digest ?? last), loading]);
        feed.fail(last, failure);
        await assert.rejects(loading, (error) => error === failure);
      });
    },
  );

  holds('an abort ends the load within seconds, and nothing is left', async (engine, t) => {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, 'abort');
    const digests = layerDigests(image);
    // Not after the last one: then the engine may have the image whole before it hears of the abort.
    for (const [at, digest] of digests.slice(0, -1).entries()) {
      await engine.leavesNothing(async () => {
        const stop = new AbortController();
        const feed = new TestFeed(layout, digests.slice(at + 1));
        const loading = engine.load(image, feed, { signal: stop.signal });
        loading.catch(() => undefined);
        await Promise.race([feed.whenStreamed(digest), loading]);
        await sleep(50);
        stop.abort(new QuayctlError('interrupted', 'SIGINT'));
        const begin = performance.now();
        await assert.rejects(loading, (error) => isQuayctlError(error, 'interrupted'));
        assert.ok(performance.now() - begin < 10_000);
      });
    }
  });
}
