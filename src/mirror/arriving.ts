import { isQuayctlError } from '../base/errors.ts';
import type { BlobDownload } from '../blobs/blob-download.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { liveBytes } from './live-bytes.ts';
import type { MirrorContext, MirrorRequest } from './mirror-context.ts';

/** A blob whose body was cut is refused for so long, so that the engine takes the rest from the registry. */
const REFUSED_MS = 30_000;
/** Layers that are begun before an engine asks for them: it asks for three at a time. */
const LOOK_AHEAD_LAYERS = 4;
/** The size of those layers together. */
const LOOK_AHEAD_BYTES = 512 * 1024 * 1024;
/** An image that is pulled again is recorded again; its use counts for the store's quota. */
const RECORDED_MS = 60_000;

export interface Wanted {
  readonly repository: string;
  readonly blob: Descriptor;
  /** That lists it; undefined where no manifest is known that does. */
  readonly image: ResolvedImage | undefined;
}

/**
 * Bytes `start` to `end` (exclusive) of a blob that is not in the store yet, from its one download in this process, which
 * begins the next layers of the image as well.
 * @throws what liveBytes throws: then the body is cut, and the blob refused for a while
 */
export async function* arriving(
  context: MirrorContext,
  request: MirrorRequest,
  wanted: Wanted,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const { registry, form, authorization } = request;
  const { signal } = request.exchange;
  const { repository, blob, image } = wanted;
  const { downloads, stallMs } = context;
  const origin = await registry.origin(repository, form, authorization, signal);
  if (image !== undefined) await record(context, request, image);
  const download = begin(context, request, repository, blob, origin);
  if (image !== undefined) await lookAhead(context, request, { repository, blob, image }, origin);
  const isMoving = (): boolean =>
    download.states.at(-1) === 'queued' && performance.now() - downloads.movedAt < stallMs / 2;
  try {
    yield* liveBytes(start, end, { download, source: origin.source, stallMs, isMoving, signal });
  } catch (error) {
    signal.throwIfAborted();
    context.refusedUntil.set(blob.digest, performance.now() + REFUSED_MS);
    for (const [digest, until] of context.refusedUntil) {
      if (until < performance.now()) context.refusedUntil.delete(digest);
    }
    const reason = error instanceof Error ? error.message : String(error);
    context.listener({ kind: 'cut', registry: registry.name, repository, digest: blob.digest, reason });
    throw error;
  }
}

/** Config and layers, each once. */
export function blobsOf({ manifest }: Pick<ResolvedImage, 'manifest'>): readonly Descriptor[] {
  const all = [manifest.config, ...manifest.layers];
  return [...new Map(all.map((blob) => [blob.digest, blob])).values()];
}

/** The engine has what stands before the layer that it asks for, so only what follows is begun. */
async function lookAhead(
  context: MirrorContext,
  request: MirrorRequest,
  { repository, blob, image }: Wanted & { readonly image: ResolvedImage },
  origin: BlobOrigin,
): Promise<void> {
  const { signal } = request.exchange;
  const blobs = blobsOf(image);
  const at = blobs.findIndex(({ digest }) => digest === blob.digest);
  // The config is the first that an engine asks for, whatever layers it has.
  if (at === 0) return;
  let bytes = 0;
  for (const next of blobs.slice(at + 1, at + 1 + LOOK_AHEAD_LAYERS)) {
    bytes += next.size;
    if (bytes > LOOK_AHEAD_BYTES) return;
    if ((await context.store.stat(next.digest)) !== undefined) continue;
    // Wanted for as long as the answer lasts that made it begin; by then an engine asks for it, or nobody does.
    begin(context, request, repository, next, origin)
      .wait(signal)
      .catch(() => undefined);
  }
}

function begin(
  { downloads, listener, refusedUntil, keeper }: MirrorContext,
  { registry }: MirrorRequest,
  repository: string,
  blob: Descriptor,
  origin: BlobOrigin,
): BlobDownload {
  const running = downloads.find(blob.digest);
  const download = downloads.start(blob, origin);
  if (download === running) return download;
  const { digest } = blob;
  download.done.then(
    (outcome) => {
      refusedUntil.delete(digest);
      keeper.stored(blob, origin);
      listener({ kind: 'stored', registry: registry.name, repository, digest, outcome });
    },
    (error: unknown) => {
      if (isQuayctlError(error, 'interrupted')) return;
      listener({ kind: 'warning', message: error instanceof Error ? error.message : String(error) });
    },
  );
  return download;
}

/** Names the image in the store, so that its blobs are seeded and count for an image. */
async function record(
  { store, listener, recordedAt }: MirrorContext,
  { registry }: MirrorRequest,
  image: ResolvedImage,
): Promise<void> {
  const { digest }: { readonly digest: Digest } = image.document.descriptor;
  const now = performance.now();
  for (const [each, at] of recordedAt) if (now - at >= RECORDED_MS) recordedAt.delete(each);
  if (recordedAt.has(digest)) return;
  recordedAt.set(digest, now);
  try {
    await store.noteService(image.reference, registry.service);
    await store.recordImage(image);
  } catch (error) {
    // The bytes go to the engine all the same.
    listener({ kind: 'warning', message: error instanceof Error ? error.message : String(error) });
  }
}
