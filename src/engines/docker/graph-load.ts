import { isQuayctlError } from '../../base/errors.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { taggedName } from '../../image/reference.ts';
import type { BlobFeed, LoadOptions } from '../engine.ts';
import { Arrivals } from '../arrivals.ts';
import type { ArchivePart } from '../archive.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { comeback } from '../docker-api/wait-for-daemon.ts';
import { DockerRefusal, isLost } from '../docker-api/failures.ts';
import {
  archiveHead,
  firstMissingLayer,
  layerName,
  prefixImage,
  wholeImage,
  type LoadedConfig,
} from './graph-archive.ts';
import { firstMissing, probe } from './graph-presence.ts';
import { layerFile, layerStream } from '../layer-file.ts';
import { TemporaryImages } from './temporary-images.ts';

/**
 * Ready layers that go into one load. Each load costs the daemon some 60 ms; smaller ones overlap better with the
 * download and with each other. Bytes.
 */
const BATCH_BYTES = 32 * 1024 * 1024;
/** So little is waited for and sent in one piece. Bytes. */
const REST_BYTES = 4 * 1024 * 1024;
/** From here on it is worth a request of its own that the daemon unpacks the base layer while it comes in. Bytes. */
const IMPORT_BYTES = 8 * 1024 * 1024;

interface GraphLoad {
  readonly client: DockerClient;
  readonly image: RunnableImage;
  readonly feed: BlobFeed;
  readonly options: LoadOptions;
  readonly readsZstd: boolean;
  readonly temporary: TemporaryImages;
  /** Whether a large base layer is imported. */
  imports: boolean;
}

/**
 * Loads into Docker's own layer store while layers still arrive: `docker load` of images without a name that hold
 * the layers so far, each sending only what the one before it had not, then the image itself.
 */
export async function loadIntoGraph(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  readsZstd: boolean,
): Promise<void> {
  const temporary = new TemporaryImages(client, image.manifest.config.digest);
  const names = options.names.map(taggedName);
  try {
    await loadInto(temporary, { client, image, feed, options, readsZstd, temporary, imports: true }, names);
  } finally {
    await temporary.remove();
  }
}

/** Starts anew from what Docker has, once each, when somebody pruned meanwhile or the daemon was lost. */
async function loadInto(
  temporary: TemporaryImages,
  load: GraphLoad,
  names: readonly string[],
): Promise<void> {
  const { client, image, options } = load;
  let from = firstMissing(options.presence);
  let pruned = false;
  let lost = false;
  for (;;) {
    try {
      await loadFrom(from, names, load);
      temporary.succeeded();
      return;
    } catch (error) {
      if (options.signal.aborted || isQuayctlError(error)) throw error;
      const missing = error instanceof DockerRefusal ? firstMissingLayer(error.message) : undefined;
      if (missing !== undefined && !pruned) {
        // Somebody has pruned, or what was imported is another layer than the config says: a load tells which.
        pruned = true;
        load.imports = false;
        from = missing;
      } else if (isLost(error) && !lost) {
        lost = true;
        await comeback(client, error, options.signal);
        from = await probe(client, image, temporary.label, options.signal);
      } else throw error;
    }
  }
}

/** Loads all layers from `from` on, and the image. At most two loads are under way, one being sent, one unpacked. */
async function loadFrom(from: number, names: readonly string[], load: GraphLoad): Promise<void> {
  const { image, options } = load;
  const layers = image.manifest.layers;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const arrivals = new Arrivals(layers, from, load.feed);
  layers.slice(0, from).forEach(({ digest }) => options.onProgress?.({ layer: digest, done: true }));

  let before: Promise<void> = Promise.resolve();
  let last: Promise<void> = before;
  try {
    for (let at = from; ;) {
      await before;
      const end = await batchEnd(at, load, arrivals, signal);
      before = last;
      last = sendBatch(at, end, before, names, load, arrivals, signal);
      // The first that fails ends the others, and what waits for blobs.
      last.catch((error: unknown) => stop.abort(error));
      if (end === layers.length && !isImported(at, load)) break;
      at = end;
    }
    await last;
  } catch (error) {
    await Promise.allSettled([before, last]);
    throw stop.signal.aborted && !options.signal.aborted ? stop.signal.reason : error;
  }
}

/** Where the batch that begins at `at` ends: as soon as `at` is ready, all that is ready and not too much. */
async function batchEnd(
  at: number,
  load: GraphLoad,
  arrivals: Arrivals,
  signal: AbortSignal,
): Promise<number> {
  const layers = load.image.manifest.layers;
  const rest = layers.slice(at).reduce((sum, { size }) => sum + size, 0);
  if (rest <= REST_BYTES) return layers.length;
  await arrivals.until(at, signal);
  if (isImported(at, load)) return at + 1;
  const ready = arrivals.readyUntil(at);
  let bytes = layers[at]?.size ?? 0;
  let end = at + 1;
  while (end < ready && bytes + (layers[end]?.size ?? 0) <= BATCH_BYTES) bytes += layers[end++]?.size ?? 0;
  return end;
}

function isImported(at: number, { image, imports }: GraphLoad): boolean {
  const layers = image.manifest.layers;
  return imports && at === 0 && (layers[0]?.size ?? 0) >= IMPORT_BYTES;
}

async function sendBatch(
  at: number,
  end: number,
  before: Promise<void>,
  names: readonly string[],
  load: GraphLoad,
  arrivals: Arrivals,
  signal: AbortSignal,
): Promise<void> {
  const { client, image, options, temporary } = load;
  const layers = image.manifest.layers.slice(at, end);
  layers.forEach(({ digest }) => options.onProgress?.({ layer: digest, done: false }));
  if (isImported(at, load)) await importFirst(load, signal);
  else if (end < image.manifest.layers.length) {
    const config = prefixImage(image, end, temporary.label);
    temporary.add(config.id);
    await client.load(batch(config, at, before, load, arrivals, signal), signal);
  } else await client.load(batch(wholeImage(image, names), at, before, load, arrivals, signal), signal);
  layers.forEach(({ digest }) => options.onProgress?.({ layer: digest, done: true }));
}

/** The base layer as an image: the daemon unpacks it as it comes, without the copy that a load makes first. */
async function importFirst(
  { client, image, feed, readsZstd, temporary }: GraphLoad,
  signal: AbortSignal,
): Promise<void> {
  const layer = image.manifest.layers[0];
  if (layer === undefined) return;
  const body = await layerStream(layer, feed, readsZstd);
  temporary.add(await client.importLayer(body, temporary.labelText, signal));
}

async function* batch(
  config: LoadedConfig,
  from: number,
  before: Promise<void>,
  { image, feed, readsZstd }: GraphLoad,
  arrivals: Arrivals,
  signal: AbortSignal,
): AsyncGenerator<ArchivePart> {
  yield* archiveHead(config);
  for (const [at, layer] of image.manifest.layers.entries()) {
    if (at < from || at >= config.count) continue;
    await arrivals.until(at, signal);
    yield await layerFile(layerName(at), layer, feed, readsZstd, signal);
  }
  // The daemon begins to unpack when the archive ends; by then the layers below must be there.
  await before;
}
