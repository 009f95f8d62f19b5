import { QuayctlError } from '../base/errors.ts';
import { ByteSource } from './byte-source.ts';
import { byteString, type ByteString, type TarEntry } from './entry.ts';
import { BLOCK, isZero, parseBlock, parseEntry, type Ahead, type Block } from './header.ts';
import { parsePax } from './pax.ts';
import { expanded, readSparseMap, type SparseMap } from './sparse.ts';

/** What may stand ahead of one entry; Go's reader, and so Docker, takes no more either. */
const MAX_AHEAD_BYTES = 1024 * 1024;

/**
 * The entries of a tar (v7, ustar, pax, GNU), every byte of their names and attributes kept. They end at the end mark,
 * or where the bytes end between two entries. What comes after the end mark is read and left out, so that whoever
 * hashes the bytes on their way sees all of them.
 * Sparse files come as the whole files that they are. As engines take it, the padding of the last entry may be missing.
 * @throws QuayctlError `protocol` where it is no tar, or ends inside of an entry; `limit`; `unsupported` for types that
 *   no engine unpacks
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const source = new ByteSource(chunks);
  try {
    let ahead: Ahead = {};
    for (let block = await nextBlock(source); block !== undefined; block = await nextBlock(source)) {
      const more = await readAhead(block, source, ahead);
      if (more !== undefined) {
        ahead = more;
        continue;
      }
      const header = parseEntry(block, ahead);
      const sparse =
        header.type === 'file' && ahead.pax !== undefined
          ? await readSparseMap(ahead.pax, header.size, source)
          : undefined;
      ahead = {};
      const content = new Content(source, header.size, sparse);
      yield { header: sparse === undefined ? header : { ...header, size: sparse.size }, content };
      await content.finish();
    }
    await source.skip(Infinity);
  } finally {
    await source.close();
  }
}

async function nextBlock(source: ByteSource): Promise<Block | undefined> {
  const bytes = await source.take(BLOCK);
  if (bytes.length === 0) return undefined;
  if (bytes.length < BLOCK) throw endsInside('a header');
  if (!isZero(bytes)) return parseBlock(bytes);
  // The end mark is two blocks of zeros. Docker refuses one alone, too: entries behind it would be lost silently.
  if (!isZero(await source.take(BLOCK))) {
    throw new QuayctlError('protocol', 'entries follow after a block of zeros, which is half of an end mark');
  }
  return undefined;
}

/** Undefined for a header that stands for an entry itself. */
async function readAhead(block: Block, source: ByteSource, ahead: Ahead): Promise<Ahead | undefined> {
  switch (block.type) {
    case 'L':
      return { ...ahead, longName: nulTerminated(await aheadBytes(block, source)) };
    case 'K':
      return { ...ahead, longLink: nulTerminated(await aheadBytes(block, source)) };
    case 'x':
      return { ...ahead, pax: parsePax(await aheadBytes(block, source)) };
    case 'g':
      // For all entries that follow; no builder says anything there, and Docker does not listen.
      await aheadBytes(block, source);
      return ahead;
    default:
      return undefined;
  }
}

async function aheadBytes({ size }: Block, source: ByteSource): Promise<Uint8Array> {
  if (size > MAX_AHEAD_BYTES) {
    throw new QuayctlError('limit', `an extended header has ${size} bytes, more than ${MAX_AHEAD_BYTES}`);
  }
  const bytes = await source.take(size);
  if (bytes.length < size) throw endsInside('an extended header');
  await source.skip(paddingOf(size));
  return bytes;
}

/** One entry's bytes in the tar: what is not read is skipped. */
class Content implements AsyncIterable<Uint8Array> {
  readonly #source: ByteSource;
  readonly #stored: number;
  readonly #sparse: SparseMap | undefined;
  #left: number;

  /** @param stored bytes of the entry; of a sparse file those of its map, which have been read, and of its pieces */
  constructor(source: ByteSource, stored: number, sparse: SparseMap | undefined) {
    this.#source = source;
    this.#stored = stored;
    this.#sparse = sparse;
    this.#left = stored - (sparse?.mapBytes ?? 0);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.#sparse === undefined
      ? this.#take(this.#left)
      : expanded(this.#sparse, (length) => this.#take(length));
  }

  async *#take(length: number): AsyncGenerator<Uint8Array> {
    let missing = length;
    for await (const part of this.#source.stream(length)) {
      this.#left -= part.length;
      missing -= part.length;
      yield part;
    }
    if (missing > 0) throw endsInside('a file');
  }

  async finish(): Promise<void> {
    this.#left -= await this.#source.skip(this.#left);
    if (this.#left > 0) throw endsInside('a file');
    await this.#source.skip(paddingOf(this.#stored));
  }
}

export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function nulTerminated(bytes: Uint8Array): ByteString {
  const [text = ''] = byteString(bytes).split('\0', 1);
  return text;
}

function endsInside(what: string): QuayctlError {
  return new QuayctlError('protocol', `the tar ends inside of ${what}`);
}
