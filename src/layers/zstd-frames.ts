import { QuayctlError } from '../base/errors.ts';
import { ByteSource } from '../tar/byte-source.ts';

/** RFC 8878, 3.1.1: of a frame that holds data. */
const DATA_FRAME = 0xfd2fb528;
/** RFC 8878, 3.1.2: sixteen magic numbers, of frames that a decoder skips. */
const SKIPPABLE_FRAME = 0x184d2a50;
const MAGIC_BYTES = 4;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
/** RFC 8878, 3.1.1.2.4: no block is larger. */
const MAX_BLOCK_BYTES = 128 * 1024;
const RLE = 1;
const RESERVED = 3;
/** Bytes of a frame that are handed on together. */
const PIECE_BYTES = 64 * 1024;

/** True for what begins like zstd, with a data frame or, as pzstd writes it, with a frame to be skipped. */
export function isZstd(head: Uint8Array): boolean {
  if (head.length < MAGIC_BYTES) return false;
  const magic = numberOf(head.subarray(0, MAGIC_BYTES));
  return magic === DATA_FRAME || isSkippable(magic);
}

/**
 * The data frames of a zstd stream (RFC 8878) in pieces of which none reaches over the end of its frame. Node's
 * decoder takes the end of a frame for the end of everything when more bytes come in the same write
 * (nodejs/node#64741), and goes on when they come in the next one. Layers of several frames are what zstd:chunked,
 * pzstd and seekable tars are.
 * @throws QuayctlError `verification` where the stream is cut short, or is no zstd any more
 */
export async function* zstdFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(chunks);
  try {
    for (
      let magic = await source.take(MAGIC_BYTES);
      magic.length > 0;
      magic = await source.take(MAGIC_BYTES)
    ) {
      const number = magic.length === MAGIC_BYTES ? numberOf(magic) : 0;
      if (isSkippable(number)) await skipFrame(source);
      else if (number === DATA_FRAME) yield* dataFrame(magic, source);
      else throw new QuayctlError('verification', 'something else follows its compressed content');
    }
  } finally {
    await source.close();
  }
}

async function skipFrame(source: ByteSource): Promise<void> {
  const size = numberOf(await exactly(source, 4));
  if ((await source.skip(size)) < size) throw cutShort();
}

async function* dataFrame(magic: Uint8Array, source: ByteSource): AsyncGenerator<Uint8Array> {
  const descriptor = await exactly(source, 1);
  const { headerBytes, hasChecksum } = parseDescriptor(descriptor[0] ?? 0);
  const front = await exactly(source, headerBytes + BLOCK_HEADER_BYTES);
  let block = parseBlockHeader(front.subarray(headerBytes));
  let piece: Uint8Array[] = [magic, descriptor, front];
  let pieceBytes = 0;
  for (;;) {
    // With what stands behind the block: the header of the next one, or the checksum.
    const behind = !block.isLast ? BLOCK_HEADER_BYTES : hasChecksum ? CHECKSUM_BYTES : 0;
    const bytes = await exactly(source, block.size + behind);
    piece.push(bytes);
    pieceBytes += bytes.length;
    if (block.isLast || pieceBytes >= PIECE_BYTES) {
      yield Buffer.concat(piece);
      piece = [];
      pieceBytes = 0;
    }
    if (block.isLast) return;
    block = parseBlockHeader(bytes.subarray(block.size));
  }
}

/** RFC 8878, 3.1.1.1.1: how long the rest of the frame's header is, and whether a checksum stands at its end. */
function parseDescriptor(byte: number): { headerBytes: number; hasChecksum: boolean } {
  const isSingleSegment = (byte & 0x20) !== 0;
  const contentSize = [isSingleSegment ? 1 : 0, 2, 4, 8][byte >> 6] ?? 0;
  const dictionaryId = [0, 1, 2, 4][byte & 3] ?? 0;
  const window = isSingleSegment ? 0 : 1;
  return { headerBytes: window + dictionaryId + contentSize, hasChecksum: (byte & 4) !== 0 };
}

/** RFC 8878, 3.1.1.2: whether it is the frame's last block, and how many bytes it takes in the frame. */
function parseBlockHeader(bytes: Uint8Array): { isLast: boolean; size: number } {
  const header = numberOf(bytes);
  const type = (header >> 1) & 3;
  const size = header >> 3;
  if (type === RESERVED || (type !== RLE && size > MAX_BLOCK_BYTES)) {
    throw new QuayctlError('verification', 'its compression is damaged');
  }
  return { isLast: (header & 1) === 1, size: type === RLE ? 1 : size };
}

async function exactly(source: ByteSource, length: number): Promise<Uint8Array> {
  const bytes = await source.take(length);
  if (bytes.length < length) throw cutShort();
  return bytes;
}

function isSkippable(magic: number): boolean {
  return magic >>> 4 === SKIPPABLE_FRAME >>> 4;
}

/** Little-endian, up to four bytes. */
function numberOf(bytes: Uint8Array): number {
  return bytes.reduceRight((number, byte) => number * 256 + byte, 0);
}

function cutShort(): QuayctlError {
  return new QuayctlError('verification', 'its compressed content is cut short');
}
