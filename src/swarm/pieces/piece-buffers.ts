/** Kept for the next pieces, bytes. */
const MAX_SPARE_BYTES = 8 * 1024 * 1024;

const spare: Uint8Array[] = [];
let spareBytes = 0;

/** Memory for a whole piece, whatever was in it before. New memory for each would wait for the garbage collector. */
export function takePieceBuffer(length: number): Uint8Array {
  const at = spare.findIndex((bytes) => bytes.length === length);
  if (at === -1) return Buffer.allocUnsafeSlow(length);
  const [bytes] = spare.splice(at, 1) as [Uint8Array];
  spareBytes -= length;
  return bytes;
}

/** Nobody looks at it any more, and nobody writes into it. */
export function givePieceBuffer(bytes: Uint8Array): void {
  spare.push(bytes);
  spareBytes += bytes.length;
  while (spareBytes > MAX_SPARE_BYTES) spareBytes -= spare.shift()?.length ?? spareBytes;
}
