import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { QuayctlError } from '../base/errors.ts';

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const CHUNK_BYTES = 64 * 1024;

/**
 * The plain bytes of a layer's blob: gzip, zstd or neither, told by its first bytes, as engines do it: media types
 * have been wrong before.
 * @throws QuayctlError `verification` for a blob that is damaged; what reading it fails with
 */
export async function* plainBytes(blob: Readable): AsyncGenerator<Uint8Array> {
  const chunks = blob[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const head = await firstBytes(chunks);
  const whole = Readable.from(withHead(head, chunks), { objectMode: false });
  const decoder = decoderFor(head);
  const plain = decoder === undefined ? whole : pipeline(whole, decoder, () => undefined);
  try {
    yield* plain as AsyncIterable<Uint8Array>;
  } catch (error) {
    // zlib's own are Z_DATA_ERROR and ZSTD_error_prefix_unknown and the like.
    if (!/^Z(?:_|STD_)/.test(String((error as NodeJS.ErrnoException).code))) throw error;
    throw new QuayctlError('verification', 'the compression is damaged', { cause: error });
  } finally {
    blob.destroy();
  }
}

function decoderFor(head: Uint8Array): NodeJS.ReadWriteStream | undefined {
  const begins = (magic: Buffer): boolean => magic.equals(head.subarray(0, magic.length));
  if (begins(GZIP)) return createGunzip({ chunkSize: CHUNK_BYTES });
  if (begins(ZSTD)) return createZstdDecompress({ chunkSize: CHUNK_BYTES });
  return undefined;
}

async function firstBytes(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head = Buffer.alloc(0);
  while (head.length < ZSTD.length) {
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
