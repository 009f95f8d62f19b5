import { setTimeout as delay } from 'node:timers/promises';
import { isQuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { blobPath } from '../../image/layout.ts';
import type { ManifestDocument, RunnableImage } from '../../image/manifest.ts';
import type { Platform } from '../../image/platform.ts';
import { ReplacedBytes } from '../../store/replaced-bytes.ts';
import type { ArchivePart } from '../archive.ts';
import { Arrivals } from '../arrivals.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import { Comebacks, survivingRestarts } from '../docker-api/wait-for-daemon.ts';
import { committedOnly, type BlobFeed, type LoadOptions } from '../engine.ts';
import { firstMissing } from '../growing-load.ts';
import { layerFile } from '../layer-file.ts';
import { ociBlobs, ociDocuments, ociEntry, ociImage, ociPrefix } from '../oci-archive.ts';
import { countUnpacked, missingLayer } from './containerd-presence.ts';
import type { TemporaryImages } from './temporary-images.ts';
import { loadUnpacking, type UnpackingForm } from './unpacking-load.ts';

/** Attestations that have not come by the time when all layers have are left out after so long. Milliseconds. */
const ATTESTATIONS_MS = 3000;

/** How the image is to stand in the store. */
export interface ContainerdTarget {
  /** For an image that is to be known by its repository digest alone; else it gets none. */
  readonly name: string | undefined;
  /**
   * Its platform, where the engine unpacks that at a load only when asked to; `never` where it cannot be asked.
   * Undefined for the engine's own.
   */
  readonly foreign: Platform | 'never' | undefined;
}

/**
 * Loads an image into containerd's store: one OCI archive of all layers and the image itself, and beside it archives of
 * images that have the layers so far, for the engine to unpack them. The images on the way are complete ones with a
 * config of their own: containerd removes unpacked layers within moments when no config refers to them.
 * @param temporary takes the images on the way; the caller removes them
 */
export async function loadIntoContainerd(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  target: ContainerdTarget,
  temporary: TemporaryImages,
): Promise<void> {
  const loaded = new AbortController();
  const within = AbortSignal.any([options.signal, loaded.signal]);
  const attestations = feed.attestations?.(within) ?? Promise.resolve([]);
  attestations.catch(() => undefined);
  const comebacks = new Comebacks(client, options.signal);
  let from = firstMissing(options.presence);
  let isPruned = false;
  const load = { client, image, options, target, temporary, attestations };
  let source = feed;
  for (;;) {
    try {
      await loadFrom(from, source, load);
      temporary.succeeded();
      loaded.abort();
      return;
    } catch (error) {
      const isReplaced = error instanceof ReplacedBytes;
      if (options.signal.aborted || (isQuayctlError(error) && !isReplaced)) throw error;
      if (isReplaced) source = committedOnly(feed);
      const missing = error instanceof DockerRefusal ? missingLayer(error.message, image) : undefined;
      if (missing !== undefined && !isPruned) {
        // Somebody has removed images that shared layers with this one.
        isPruned = true;
        from = missing;
      } else {
        temporary.interrupted();
        if (!isReplaced) await comebacks.after(error);
        from = await survivingRestarts(client, options.signal, () =>
          countUnpacked(client, image, options.signal),
        );
      }
    }
  }
}

interface ContainerdLoad {
  readonly client: DockerClient;
  readonly image: RunnableImage;
  readonly options: LoadOptions;
  readonly target: ContainerdTarget;
  readonly temporary: TemporaryImages;
  readonly attestations: Promise<readonly ManifestDocument[]>;
}

function loadFrom(from: number, feed: BlobFeed, load: ContainerdLoad): Promise<void> {
  const { client, image, options, target, temporary, attestations } = load;
  const { layers } = image.manifest;
  const arrivals = new Arrivals(layers, from, feed);
  const sent = new Set<Digest>();
  const whole = ociImage(image, target.name, true);
  /** The images on the way, by how many layers they have. */
  const prefixes = new Map<number, Digest>();
  const form: UnpackingForm = {
    layer: (at, signal) => {
      const layer = layers[at];
      // The same layer may stand in an image twice; the store has it by its digest.
      if (layer === undefined || sent.has(layer.digest)) return undefined;
      sent.add(layer.digest);
      return layerFile(blobPath(layer.digest), layer, feed, true, signal);
    },
    first: () => ociBlobs(whole),
    documents: (count) => {
      if (count === layers.length) return withAttestations(attestations, ociEntry(whole));
      const prefix = ociPrefix(image, count, temporary.label);
      prefixes.set(count, prefix.digest);
      temporary.add(prefix.digest);
      return ociDocuments(prefix);
    },
    send: (parts, signal) => client.load(parts, signal),
    unpack: (parts, signal) =>
      client.load(parts, signal, target.foreign === 'never' ? undefined : target.foreign),
    unpacksAhead: target.foreign !== 'never',
    taken: (count) => temporary.dropSmaller(prefixes, count),
    isTooEarly: (error) =>
      error instanceof DockerRefusal &&
      // The latter is said to those who ask for a platform.
      ((missingLayer(error.message, image) ?? -1) >= from || /content is missing/.test(error.message)),
  };
  return loadUnpacking(layers, from, form, arrivals, options);
}

async function* withAttestations(
  attestations: Promise<readonly ManifestDocument[]>,
  documents: Iterable<ArchivePart>,
): AsyncGenerator<ArchivePart> {
  yield* attestationParts(await attestationsInTime(attestations));
  yield* documents;
}

/** None where they take too long. */
export function attestationsInTime(
  attestations: Promise<readonly ManifestDocument[]>,
): Promise<readonly ManifestDocument[]> {
  return Promise.race([attestations, delay(ATTESTATIONS_MS, [], { ref: false })]);
}

export function attestationParts(documents: readonly ManifestDocument[]): ArchivePart[] {
  return documents.map(({ descriptor, bytes }) => ({ name: blobPath(descriptor.digest), bytes }));
}
