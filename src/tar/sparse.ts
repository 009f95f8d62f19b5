import { QuayctlError } from '../base/errors.ts';
import type { ByteSource } from './byte-source.ts';
import { byteString, type ByteString } from './entry.ts';
import type { PaxRecords } from './pax.ts';

/** A piece of a sparse file that is in the tar; between the pieces lie zeros. */
interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** How a sparse file lies in a tar. */
export interface SparseMap {
  /** Of the whole file, zeros included. */
  readonly size: number;
  /** In order, without overlap. */
  readonly pieces: readonly Piece[];
  /** Bytes of the entry that the map itself takes, in front of the pieces. */
  readonly mapBytes: number;
}

const BLOCK = 512;
/** As Go bounds it: some 30,000 pieces. */
const MAX_MAP_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;
const ZEROS = new Uint8Array(64 * 1024);

/** The name of a sparse file: that in the header is one for tars that do not know of them. */
export function sparseNameOf(pax: PaxRecords): ByteString | undefined {
  return versionOf(pax) === undefined ? undefined : pax.get('GNU.sparse.name');
}

/**
 * The map of a sparse file in GNU's pax formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files"), which is
 * what `tar --sparse --format=pax` writes and Go, so every engine, reads. Undefined for a file that is not sparse.
 * @param stored bytes of the entry
 * @param source where format 1.0 has its map, in front of the content
 * @throws QuayctlError `protocol` for a map that does not fit the file, `limit`
 */
export async function readSparseMap(
  pax: PaxRecords,
  stored: number,
  source: ByteSource,
): Promise<SparseMap | undefined> {
  const version = versionOf(pax);
  if (version === undefined) return undefined;
  const digits = pax.get('GNU.sparse.size') ?? pax.get('GNU.sparse.realsize');
  const size = digits === undefined ? stored : numberOf(digits);
  const { numbers, mapBytes } =
    version === '1.0' ? await mapInContent(stored, source) : { numbers: mapInRecords(pax), mapBytes: 0 };
  const pieces = piecesOf(numbers, size);
  const length = pieces.reduce((sum, piece) => sum + piece.length, mapBytes);
  if (length !== stored) throw new QuayctlError('protocol', 'a sparse file is not as long as its map says');
  return { size, pieces, mapBytes };
}

/** The whole file, from the pieces as they lie in the tar. */
export async function* expanded(
  { size, pieces }: SparseMap,
  take: (length: number) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const { offset, length } of pieces) {
    yield* zeros(offset - at);
    yield* take(length);
    at = offset + length;
  }
  yield* zeros(size - at);
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length)
    yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}

function versionOf(pax: PaxRecords): '0' | '1.0' | undefined {
  const [major, minor] = [pax.get('GNU.sparse.major'), pax.get('GNU.sparse.minor')];
  if (major === '1' && minor === '0') return '1.0';
  if (major === '0' && (minor === '0' || minor === '1')) return '0';
  // A version that nobody knows: Go takes the file as it lies there.
  if (major !== undefined || minor !== undefined) return undefined;
  return pax.has('GNU.sparse.map') ? '0' : undefined;
}

function mapInRecords(pax: PaxRecords): number[] {
  const map = pax.get('GNU.sparse.map') ?? '';
  const numbers = map === '' ? [] : map.split(',').map(numberOf);
  if (numbers.length !== 2 * numberOf(pax.get('GNU.sparse.numblocks') ?? '')) throw damaged();
  return numbers;
}

/** Decimal numbers, a line each, the first of them how many pieces there are; filled up to whole blocks. */
async function mapInContent(
  stored: number,
  source: ByteSource,
): Promise<{ numbers: number[]; mapBytes: number }> {
  let text = '';
  let lines = 0;
  let wanted = 1;
  while (lines < wanted) {
    const bytes = await source.take(BLOCK);
    if (bytes.length < BLOCK || text.length + BLOCK > stored) throw damaged();
    if (text.length >= MAX_MAP_BYTES) {
      throw new QuayctlError('limit', `a sparse file has a map of more than ${MAX_MAP_BYTES} bytes`);
    }
    text += byteString(bytes);
    lines += bytes.filter((byte) => byte === NEWLINE).length;
    if (lines > 0) wanted = 1 + 2 * numberOf(text.slice(0, text.indexOf('\n')));
  }
  return { numbers: text.split('\n', wanted).slice(1).map(numberOf), mapBytes: text.length };
}

function piecesOf(numbers: readonly number[], size: number): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (let at = 0; at < numbers.length; at += 2) {
    const [offset = 0, length = 0] = numbers.slice(at, at + 2);
    if (offset < end || offset + length > size) throw damaged();
    pieces.push({ offset, length });
    end = offset + length;
  }
  return pieces;
}

function numberOf(digits: string): number {
  const number = /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw damaged();
  return number;
}

function damaged(): QuayctlError {
  return new QuayctlError('protocol', 'the map of a sparse file is damaged');
}
