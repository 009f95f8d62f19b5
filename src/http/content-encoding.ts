import { promisify } from 'node:util';
import {
  brotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzip,
  inflate,
  zstdDecompress,
} from 'node:zlib';
import type { Transform } from 'node:stream';

interface Coding {
  readonly decode: (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;
  readonly stream: () => Transform;
}

/** Codings that servers and caches apply although `identity` was asked for (RFC 9110 section 8.4.1, RFC 8878). */
const CODINGS: Readonly<Record<string, Coding>> = {
  gzip: { decode: promisify(gunzip), stream: createGunzip },
  deflate: { decode: promisify(inflate), stream: createInflate },
  br: { decode: promisify(brotliDecompress), stream: createBrotliDecompress },
  zstd: { decode: promisify(zstdDecompress), stream: createZstdDecompress },
};

/**
 * The coding that a Content-Encoding field names; undefined for none and for names that say nothing about the bytes
 * (`identity`, an empty field, `aws-chunked`, several codings). Those bytes are taken as they are: a digest decides.
 */
export function codingOf(field: string | undefined): string | undefined {
  const name = (field ?? '').trim().toLowerCase().replace(/^x-/, '');
  return CODINGS[name] === undefined ? undefined : name;
}

/** Undoes a coding of `codingOf` while bytes arrive. */
export function decoderOf(coding: string): Transform | undefined {
  return CODINGS[coding]?.stream();
}

/**
 * A whole body without its coding. A label that is not true changes nothing: then the bytes are what they are.
 * @returns undefined where more than `maxBytes` come out
 */
export async function decodeBody(
  bytes: Buffer,
  coding: string,
  maxBytes: number,
): Promise<Buffer | undefined> {
  try {
    return (await CODINGS[coding]?.decode(bytes, { maxOutputLength: maxBytes })) ?? bytes;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ERR_BUFFER_TOO_LARGE' ? undefined : bytes;
  }
}
