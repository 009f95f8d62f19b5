/** Memory that is kept for the next pieces: bytes, and at least so many buffers of the newest length. */
const MAX_SPARE_BYTES = 8 * 1024 * 1024;
const MIN_SPARE_BUFFERS = 2;

let spare: Uint8Array[] = [];
let spareBytes = 0;

/** Memory for a piece, whatever was in it before. New memory for each would wait for the garbage collector. */
export function takePieceBuffer(length: number): Uint8Array {
  const at = spare.findIndex((bytes) => bytes.length === length);
  if (at === -1) return Buffer.allocUnsafeSlow(length);
  const [bytes] = spare.splice(at, 1) as [Uint8Array];
  spareBytes -= length;
  return bytes;
}

/** Gives memory back that nobody reads or writes any more. */
export function givePieceBuffer(bytes: Uint8Array): void {
  spare.push(bytes);
  spareBytes += bytes.length;
  const most = Math.max(MAX_SPARE_BYTES, MIN_SPARE_BUFFERS * bytes.length);
  while (spareBytes > most) spareBytes -= spare.shift()?.length ?? spareBytes;
}

/** A download has ended: what is kept is left to the garbage collector. */
export function dropPieceBuffers(): void {
  spare = [];
  spareBytes = 0;
}
