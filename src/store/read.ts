import type { FileHandle } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';

/**
 * @param into where the bytes are put, of at least `length`; new memory by default
 * @returns the bytes, exactly `length` of them
 * @throws QuayctlError `store` where the file ends before
 */
export async function readExactly(
  file: FileHandle,
  offset: number,
  length: number,
  into: Uint8Array = Buffer.allocUnsafe(length),
): Promise<Uint8Array> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(into, done, length - done, offset + done);
    if (bytesRead === 0) {
      throw new QuayctlError('store', `a blob of the store ends before byte ${offset + length}`);
    }
    done += bytesRead;
  }
  return into.subarray(0, length);
}
