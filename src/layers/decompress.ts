import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isZstd, zstdFrames } from './zstd-frames.ts';
import { unpackedBy } from './unpacking-program.ts';

const GZIP = Buffer.from([0x1f, 0x8b, 0x08]);
const BZIP2 = Buffer.from('BZh');
const XZ = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
/** As many bytes as the longest of these. */
const MAGIC_BYTES = XZ.length;
const CHUNK_BYTES = 64 * 1024;

/**
 * The plain bytes of a layer's blob, to its very end: gzip of any number of members, zstd of any number of frames, xz,
 * bzip2, or none of them. That is told by its first bytes, as Docker tells it (moby pkg/archive, DetectCompression):
 * media types have been wrong before.
 * @param onPacked told the bytes of the blob as they are read
 * @throws QuayctlError `verification` for compression that is damaged, cut short or followed by something else,
 *   `unsupported` for xz and bzip2 where the program of that name is missing; what reading the blob fails with
 */
export async function* plainBytes(
  blob: Readable,
  onPacked: (bytes: number) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  const chunks = counted(blob, onPacked);
  try {
    const head = await firstBytes(chunks);
    yield* decoded(head, withHead(head, chunks));
  } catch (error) {
    throw damaged(error);
  } finally {
    blob.destroy();
  }
}

async function* counted(blob: Readable, onPacked: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of blob as AsyncIterable<Uint8Array>) {
    onPacked(chunk.length);
    yield chunk;
  }
}

function decoded(head: Uint8Array, blob: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  if (begins(head, GZIP)) return through(blob, createGunzip({ chunkSize: CHUNK_BYTES }));
  if (isZstd(head)) return through(zstdFrames(blob), createZstdDecompress({ chunkSize: CHUNK_BYTES }));
  if (begins(head, XZ)) return unpackedBy('xz', blob);
  if (begins(head, BZIP2)) return unpackedBy('bzip2', blob);
  return blob;
}

function through(
  blob: AsyncIterable<Uint8Array>,
  decoder: NodeJS.ReadWriteStream,
): AsyncIterable<Uint8Array> {
  const whole = Readable.from(blob, { objectMode: false });
  return pipeline(whole, decoder, () => undefined) as unknown as AsyncIterable<Uint8Array>;
}

/** Errors of zlib and zstd have codes such as Z_DATA_ERROR and ZSTD_error_corruption_detected. */
function damaged(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (isQuayctlError(error) || !/^Z(?:_|STD_)/.test(String(code))) return error;
  return new QuayctlError('verification', reasonFor(String(code), message), { cause: error });
}

function reasonFor(code: string, message: string): string {
  if (code === 'Z_BUF_ERROR') return 'its compressed content is cut short';
  // The first member began as gzip does, or nobody would have taken it for gzip.
  if (message === 'incorrect header check') return 'something else follows its compressed content';
  return 'its compression is damaged';
}

function begins(head: Uint8Array, magic: Buffer): boolean {
  return magic.equals(head.subarray(0, magic.length));
}

async function firstBytes(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* withHead(head: Uint8Array, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
}
