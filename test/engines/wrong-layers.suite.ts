import assert from 'node:assert/strict';
import { isQuayctlError } from '../../src/base/errors.ts';
import { fourLayers, newLayout, TestFeed } from './engine-images.ts';
import type { Holds } from './engine-under-test.ts';

/** Layers that are not what they claim. */
export function wrongLayers(holds: Holds): void {
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
}
