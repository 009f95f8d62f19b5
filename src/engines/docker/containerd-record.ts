import type { Digest } from '../../image/digest.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import type { Platform } from '../../image/platform.ts';
import type { InspectedImage } from '../docker-api/client.ts';

/** The digest of a tar without entries, which is what a Dockerfile's `ENV` adds in some builders. */
const EMPTY_LAYER = 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef';

/**
 * What containerd's store calls the image: the digest of the index through which it was found, or of its manifest,
 * as after `docker pull`.
 */
export function targetOf({ index, document }: RunnableImage): Digest {
  return (index ?? document).descriptor.digest;
}

/**
 * Whether the engine can run the image of this record, and not only shows it: a failed or interrupted load leaves a
 * record without layers.
 */
export function isRunnable(record: InspectedImage, image: RunnableImage, engine: Platform): boolean {
  const entry = record.manifests.find(({ digest }) => digest === image.document.descriptor.digest);
  if (entry === undefined) return false;
  // The engine unpacks other platforms when a container is created, from the blobs.
  if (isForeign(image, engine)) return entry.available;
  // Blobs may be missing where their content came in another compression: `docker pull` leaves them out, too.
  if (entry.unpackedBytes > 0) return true;
  return entry.available && image.config.diffIds.every((diffId) => diffId === EMPTY_LAYER);
}

/** Whether the image is for another platform than the engine's, so that the engine does not unpack it. */
export function isForeign({ config }: RunnableImage, engine: Platform): boolean {
  return config.os !== engine.os || config.architecture !== engine.architecture;
}
