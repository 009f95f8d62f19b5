import { orAborted } from '../../base/abort.ts';
import { isQuayctlError } from '../../base/errors.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { taggedName } from '../../image/reference.ts';
import { ReplacedBytes } from '../../store/replaced-bytes.ts';
import { Arrivals } from '../arrivals.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal, isLost } from '../docker-api/failures.ts';
import { Comebacks, survivingRestarts } from '../docker-api/wait-for-daemon.ts';
import { committedOnly, type BlobFeed, type LoadOptions } from '../engine.ts';
import { firstMissing, loadGrowing, type GrowingForm } from '../growing-load.ts';
import { arrivingStream, layerFile } from '../layer-file.ts';
import { archiveHead, firstMissingLayer, layerName, prefixImage, wholeImage } from './graph-archive.ts';
import { probe } from './graph-presence.ts';
import { TemporaryImages } from './temporary-images.ts';

/** From here on it is worth a request of its own that the daemon unpacks the base layer while it comes in. Bytes. */
const IMPORT_BYTES = 8 * 1024 * 1024;

/**
 * Loads into Docker's own layer store while layers still arrive: `docker load` of images without a name that hold
 * the layers so far, each sending only what the one before it had not, then the image itself.
 * @param readsZstd whether this engine takes layers in zstd
 */
export async function loadIntoGraph(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  readsZstd: boolean,
): Promise<void> {
  const temporary = new TemporaryImages(client, image.manifest.config.digest);
  const comebacks = new Comebacks(client, options.signal);
  let from = firstMissing(options.presence);
  let isPruned = false;
  let imports = true;
  let source = feed;
  try {
    for (;;) {
      try {
        await loadFrom(from, imports, { client, image, feed: source, options, readsZstd, temporary });
        temporary.succeeded();
        return;
      } catch (error) {
        const isReplaced = error instanceof ReplacedBytes;
        if (options.signal.aborted || (isQuayctlError(error) && !isReplaced)) throw error;
        if (isReplaced) source = committedOnly(feed);
        const missing = error instanceof DockerRefusal ? firstMissingLayer(error.message) : undefined;
        if (missing !== undefined && !isPruned) {
          // Somebody has pruned, or the imported layer is another one than the config says: a load tells which.
          isPruned = true;
          imports = false;
          from = missing;
        } else {
          temporary.interrupted();
          if (!isReplaced) await comebacks.after(error);
          from = await survivingRestarts(client, options.signal, () =>
            probe(client, image, temporary.label, options.signal),
          );
        }
      }
    }
  } finally {
    await temporary.remove();
  }
}

interface GraphLoad {
  readonly client: DockerClient;
  readonly image: RunnableImage;
  readonly feed: BlobFeed;
  readonly options: LoadOptions;
  readonly readsZstd: boolean;
  readonly temporary: TemporaryImages;
}

/** @param imports whether a large base layer is imported, which the daemon unpacks while it comes in */
async function loadFrom(from: number, imports: boolean, load: GraphLoad): Promise<void> {
  const { client, image, feed, options, readsZstd, temporary } = load;
  const { layers } = image.manifest;
  const names = options.names.map(taggedName);
  const arrivals = new Arrivals(layers, from, feed);
  /** The images on the way, by how many layers they have. */
  const prefixes = new Map<number, Digest>();
  const form: GrowingForm = {
    layer: (at, signal) => {
      const layer = layers[at];
      return layer === undefined ? undefined : layerFile(layerName(at), layer, feed, readsZstd, signal);
    },
    documents: (count) => {
      if (count === layers.length) return archiveHead(wholeImage(image, names));
      const prefix = prefixImage(image, count, temporary.label);
      temporary.add(prefix.id);
      prefixes.set(count, prefix.id);
      return archiveHead(prefix);
    },
    send: (parts, signal) => client.load(parts, signal),
    taken: (count) => temporary.dropSmaller(prefixes, count),
  };
  const [base] = layers;
  if (!imports || from > 0 || base === undefined || base.size < IMPORT_BYTES) {
    return loadGrowing(layers, from, form, arrivals, options);
  }
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  options.onProgress?.({ layer: base.digest, done: false });
  const imported = importBase(base, load, signal);
  imported.catch(() => undefined);
  try {
    await loadGrowing(layers, 1, form, arrivals, options, imported);
  } catch (error) {
    // An import that is still under way would make its image after everything was cleaned up.
    stop.abort(error);
    await imported.catch(() => undefined);
    throw error;
  }
}

/** The base layer as an image: the daemon unpacks it as it comes, without the copy that a load makes first. */
async function importBase(
  base: Descriptor,
  { client, feed, readsZstd, temporary }: GraphLoad,
  signal: AbortSignal,
): Promise<void> {
  const body = await arrivingStream(base, feed, readsZstd, signal);
  try {
    temporary.add(await client.importLayer(body, temporary.labelText, signal));
  } catch (error) {
    if (!(error instanceof DockerRefusal) || isLost(error)) throw error;
    // The daemon has unpacked bytes that nobody had verified yet. Where they were wrong, the download says so or mends
    // it; the load then finds that the layer is missing, and sends it.
    await orAborted(feed.ready(base.digest), signal);
  }
}
