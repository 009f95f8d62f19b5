import { Readable } from 'node:stream';
import { isQuayctlError } from '../base/errors.ts';
import { storeSource } from '../blobs/blob-source.ts';
import type { BlobName } from '../http-server/path.ts';
import { refuse } from '../http-server/request-context.ts';
import { sendFile } from '../http-server/send-file.ts';
import { whenOver } from '../http-server/when-over.ts';
import { digestHex } from '../image/digest.ts';
import type { Verdict } from '../upstream/permission.ts';
import { arriving, blobsOf } from './arriving.ts';
import { ANSWER_MS, type MirrorContext, type MirrorRequest } from './mirror-context.ts';
import { handOn, refuseSilent } from './refusals.ts';

/** A blob from the store, else its bytes while they arrive; to whom the registry grants it, or a manifest that lists it. */
export async function answerBlob(
  context: MirrorContext,
  request: MirrorRequest,
  name: BlobName,
): Promise<void> {
  const { exchange, registry } = request;
  const { repository, digest } = name;
  const verdict = await verdictOn(request, name);
  if (verdict === undefined) return refuseSilent(request);
  if (verdict.kind === 'refused') return handOn(request, verdict.status, verdict.headers);
  const image = registry.manifests.imageOf(repository, digest);
  const listed = image === undefined ? undefined : blobsOf(image).find((blob) => blob.digest === digest);
  const blob = listed ?? { mediaType: 'application/octet-stream', digest, size: verdict.size };
  const { store, readers, refusedUntil } = context;
  const isHere = (await store.stat(digest)) === blob.size;
  if (exchange.method === 'GET') {
    if (!isHere && (refusedUntil.get(digest) ?? 0) > performance.now()) {
      return refuse(exchange, 503, 'UNAVAILABLE', 'a moment ago no source gave all of this blob');
    }
    const place = readers.take(exchange.site);
    if (place === undefined) return refuse(exchange, 503, 'UNAVAILABLE', 'too many blobs are being read');
    whenOver(exchange.response, place);
  }
  const bytes = (start: number, end: number): AsyncIterable<Uint8Array> =>
    isHere
      ? storeSource(store).open(blob, start, end, exchange.signal)
      : arriving(context, request, { repository, blob, image }, start, end);
  const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': digest };
  const file = {
    length: blob.size,
    etag: digestHex(digest),
    read: (start: number, end: number) => Readable.from(bytes(start, end), { objectMode: false }),
  };
  await sendFile(exchange, file, headers);
}

/** @returns undefined where the registry does not answer in time, and nothing was granted lately */
async function verdictOn(
  { exchange, registry, form, authorization }: MirrorRequest,
  name: BlobName,
): Promise<Verdict | undefined> {
  const { permission } = registry.door(form);
  const signal = AbortSignal.any([exchange.signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    return await permission.mayRead(name, authorization, signal);
  } catch (error) {
    exchange.signal.throwIfAborted();
    if (!signal.aborted && !isQuayctlError(error, 'unreachable')) throw error;
    const { repository, digest } = name;
    return permission.standing({ repository, object: digest, authorization });
  }
}
