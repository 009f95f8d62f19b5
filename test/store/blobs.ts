import { createHash, randomBytes } from 'node:crypto';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestFromHex } from '../../src/image/digest.ts';

/** Bytes and their descriptor. */
export interface TestBlob {
  readonly bytes: Buffer;
  readonly descriptor: Descriptor;
}

export function blobOf(bytes: Buffer): TestBlob {
  const digest = digestFromHex(createHash('sha256').update(bytes).digest('hex'));
  return { bytes, descriptor: { mediaType: 'application/octet-stream', digest, size: bytes.length } };
}

export function randomBlob(size: number): TestBlob {
  return blobOf(randomBytes(size));
}

/** Fails a test that hangs, rather than the whole run. */
export function patience(ms = 20_000): AbortSignal {
  return AbortSignal.timeout(ms);
}
