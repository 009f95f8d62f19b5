import type { FileHandle } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';

/** @throws QuayctlError `store` where the file ends before */
export async function readExactly(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) {
      throw new QuayctlError('store', `a blob of the store ends before byte ${offset + length}`);
    }
    done += bytesRead;
  }
  return buffer;
}
