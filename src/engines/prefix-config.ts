import { digestOf, type Digest } from '../image/digest.ts';
import type { RunnableImage } from '../image/manifest.ts';

/**
 * Marks the images that quayctl makes on the way to the wanted one and removes again. The value is
 * `CONFIG-DIGEST/RUN`: leftovers of a crashed run can be found by it, and no run removes what another one still needs.
 */
export const TEMPORARY_LABEL = 'io.quayctl.temporary';

/** The config of an image that has only the first `count` layers of another one. @param label TEMPORARY_LABEL's value */
export function prefixConfig(
  image: RunnableImage,
  count: number,
  label: string,
): { readonly bytes: Uint8Array; readonly id: Digest } {
  const { os, architecture, variant, diffIds } = image.config;
  const config = {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    created: new Date().toISOString(),
    config: { Labels: { [TEMPORARY_LABEL]: label } },
    history: [],
    rootfs: { type: 'layers', diff_ids: diffIds.slice(0, count) },
  };
  const bytes = Buffer.from(JSON.stringify(config));
  return { bytes, id: digestOf(bytes) };
}
