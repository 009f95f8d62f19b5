import { isQuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { blobPath } from '../../image/layout.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { Arrivals } from '../arrivals.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import { Comebacks, survivingRestarts } from '../docker-api/wait-for-daemon.ts';
import type { BlobFeed, LoadOptions } from '../engine.ts';
import { firstMissing, loadGrowing, type GrowingForm } from '../growing-load.ts';
import { layerFile } from '../layer-file.ts';
import { ociBlobs, ociDocuments, ociEntry, ociImage, ociPrefix } from '../oci-archive.ts';
import { countUnpacked, missingLayer } from './containerd-presence.ts';
import type { TemporaryImages } from './temporary-images.ts';

/**
 * Loads an image into containerd's store: OCI archives of images that hold the layers so far, then one of the image
 * itself. The images on the way are complete ones with a config of their own: containerd removes unpacked layers
 * within moments when no config refers to them.
 * @param name for an image that is to be known by its repository digest alone; else the image gets none
 * @param temporary takes the images on the way; the caller removes them
 */
export async function loadIntoContainerd(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  name: string | undefined,
  temporary: TemporaryImages,
): Promise<void> {
  const comebacks = new Comebacks(client, options.signal);
  let from = firstMissing(options.presence);
  let isPruned = false;
  for (;;) {
    try {
      await loadFrom(from, client, image, feed, options, name, temporary);
      temporary.succeeded();
      return;
    } catch (error) {
      if (options.signal.aborted || isQuayctlError(error)) throw error;
      const missing = error instanceof DockerRefusal ? missingLayer(error.message, image) : undefined;
      if (missing !== undefined && !isPruned) {
        // Somebody has removed images that shared layers with this one.
        isPruned = true;
        from = missing;
      } else {
        temporary.interrupted();
        await comebacks.after(error);
        from = await survivingRestarts(client, options.signal, () =>
          countUnpacked(client, image, options.signal),
        );
      }
    }
  }
}

function loadFrom(
  from: number,
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  name: string | undefined,
  temporary: TemporaryImages,
): Promise<void> {
  const { layers } = image.manifest;
  const arrivals = new Arrivals(layers, from, feed);
  const sent = new Set<Digest>();
  const whole = ociImage(image, name, true);
  let isAhead = false;
  /** The images on the way, by how many layers they have. */
  const prefixes = new Map<number, Digest>();
  const form: GrowingForm = {
    layer: (at, signal) => {
      const layer = layers[at];
      // The same layer may stand in an image twice; the store has it by its digest.
      if (layer === undefined || sent.has(layer.digest)) return undefined;
      sent.add(layer.digest);
      return layerFile(blobPath(layer.digest), layer, feed, true, signal);
    },
    ahead: () => {
      isAhead = true;
      return ociBlobs(whole);
    },
    documents: (count) => {
      if (count === layers.length) return isAhead ? ociEntry(whole) : ociDocuments(whole);
      const prefix = ociPrefix(image, count, temporary.label);
      prefixes.set(count, prefix.digest);
      temporary.add(prefix.digest);
      return ociDocuments(prefix);
    },
    send: (parts, signal) => client.load(parts, signal),
    taken: (count) => temporary.dropSmaller(prefixes, count),
  };
  return loadGrowing(layers, from, form, arrivals, options);
}
