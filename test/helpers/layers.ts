import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform, type TransformCallback } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';
import { pack, type Header } from 'tar-stream';

/**
 * A file system entry of a layer. `random` bytes do not compress and are the same for the same seed; of `file` the
 * first `bytes` are taken.
 */
export interface LayerEntry extends Partial<Omit<Header, 'name' | 'size'>> {
  readonly name: string;
  readonly content?:
    | string
    | Uint8Array
    | { readonly random: number; readonly seed?: string }
    | { readonly file: string; readonly bytes: number };
}

export type LayerSource =
  | { readonly entries: readonly LayerEntry[] }
  /** A tar made by another tool. */
  | { readonly tarFile: string };

export type LayerSpec = LayerSource & {
  /** Default gzip, level 1. */
  readonly compression?: 'gzip' | 'zstd' | 'none';
  /** Makes the blob of the tar, in place of `compression`, which only the media type follows then. */
  readonly pack?: (tar: Buffer) => Uint8Array | Promise<Uint8Array>;
};

/** A layer as a blob in a directory of blobs. */
export interface BuiltLayer {
  readonly digest: string;
  /** Digest of the tar inside. */
  readonly diffId: string;
  /** Bytes of the blob. */
  readonly size: number;
  readonly compression: 'gzip' | 'zstd' | 'none';
  readonly path: string;
}

/** Writes one layer into `folder` under its hex digest. Streams: layers may be larger than memory. */
export async function buildLayer(folder: string, spec: LayerSpec): Promise<BuiltLayer> {
  const compression = spec.compression ?? 'gzip';
  const tar = hashing();
  const blob = hashing();
  const partial = join(folder, `.partial-${process.pid}-${(sequence += 1)}`);
  const source = 'tarFile' in spec ? createReadStream(spec.tarFile) : tarOf(spec.entries);
  const sink = createWriteStream(partial);
  if (spec.pack !== undefined) {
    const { pack: packWhole } = spec;
    const packed = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array> {
      yield await packWhole(await buffer(chunks));
    };
    await pipeline(source, tar.stream, packed, blob.stream, sink);
  } else if (compression === 'none') await pipeline(source, tar.stream, blob.stream, sink);
  else {
    const compressor = compression === 'gzip' ? createGzip({ level: 1 }) : createZstdCompress();
    await pipeline(source, tar.stream, compressor, blob.stream, sink);
  }
  const { digest, size } = blob.result();
  const path = join(folder, digest.slice('sha256:'.length));
  await rename(partial, path);
  return { digest, diffId: tar.result().digest, size, compression, path };
}

let sequence = 0;
const EPOCH = new Date(0);

function tarOf(entries: readonly LayerEntry[]): Readable {
  const tar = pack();
  const fill = async (): Promise<void> => {
    for (const { content = '', name, ...headers } of entries) {
      const body = bodyOf(content);
      const header = { mtime: EPOCH, ...headers, name, size: body.length };
      await new Promise<void>((resolve, reject) => {
        const done = (error?: Error | null): void => (error ? reject(error) : resolve());
        const entry = tar.entry(header, done);
        body.stream().on('error', reject).pipe(entry);
      });
    }
    tar.finalize();
  };
  fill().catch((error: unknown) => tar.destroy(error as Error));
  return tar as unknown as Readable;
}

function bodyOf(content: NonNullable<LayerEntry['content']>): { length: number; stream: () => Readable } {
  if (typeof content === 'object' && 'random' in content) {
    const { random, seed = '' } = content;
    return { length: random, stream: () => Readable.from(noise(random, seed)) };
  }
  if (typeof content === 'object' && 'file' in content) {
    const { file, bytes: length } = content;
    return {
      length,
      stream: () => (length === 0 ? Readable.from([]) : createReadStream(file, { end: length - 1 })),
    };
  }
  const bytes = Buffer.from(content as Uint8Array);
  return { length: bytes.length, stream: () => Readable.from(bytes.length === 0 ? [] : [bytes]) };
}

const NOISE_CHUNK = 256 * 1024;

/** AES-CTR over zeros: as incompressible as packed programs, and fast. */
function* noise(length: number, seed: string): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(NOISE_CHUNK);
  for (let left = length; left > 0; left -= NOISE_CHUNK) {
    yield cipher.update(zeros.subarray(0, Math.min(left, NOISE_CHUNK)));
  }
}

function hashing(): { stream: Transform; result: () => { digest: string; size: number } } {
  const hash = createHash('sha256');
  let size = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _, done: TransformCallback) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  return { stream, result: () => ({ digest: `sha256:${hash.digest('hex')}`, size }) };
}
