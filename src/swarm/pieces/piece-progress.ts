import { BLOCK, type Filling } from '../wire/message-reader.ts';
import { givePieceBuffer, takePieceBuffer } from './piece-buffers.ts';

/** Part of a piece: bytes from its beginning. */
export interface BlockRange {
  readonly offset: number;
  readonly length: number;
}

interface Arriving extends Filling {
  readonly first: number;
  /** Its bytes go beside the piece, because somebody else brings the same. */
  readonly aside: boolean;
}

/** A piece that is being put together from blocks of several peers. */
export class PieceProgress {
  readonly index: number;
  readonly length: number;
  readonly bytes: Uint8Array;
  /** How often each block has been asked for and not come. */
  readonly #asked: Uint8Array;
  readonly #here: Uint8Array;
  readonly #arriving = new Set<Arriving>();
  #missing: number;
  /** No free block lies before this one. */
  #firstFree = 0;

  constructor(index: number, length: number) {
    this.index = index;
    this.length = length;
    this.bytes = takePieceBuffer(length);
    this.#missing = Math.ceil(length / BLOCK);
    this.#asked = new Uint8Array(this.#missing);
    this.#here = new Uint8Array(this.#missing);
  }

  get isComplete(): boolean {
    return this.#missing === 0;
  }

  get hasFree(): boolean {
    while (this.#firstFree < this.#asked.length && !this.#isFree(this.#firstFree)) this.#firstFree++;
    return this.#firstFree < this.#asked.length;
  }

  /** The next blocks that nobody was asked for, neighbours as one range; undefined: there are none. */
  askNext(maxBytes: number): BlockRange | undefined {
    if (!this.hasFree) return undefined;
    const first = this.#firstFree;
    let end = first;
    const most = first + Math.max(1, Math.floor(maxBytes / BLOCK));
    while (end < most && end < this.#asked.length && this.#isFree(end)) this.#asked[end++] = 1;
    const offset = first * BLOCK;
    return { offset, length: Math.min(end * BLOCK, this.length) - offset };
  }

  /** The same once more of somebody else. @returns false when none of it is missing any more */
  askAgain(range: BlockRange): boolean {
    const blocks = this.#blocks(range);
    if (blocks.every((block) => this.#here[block] === 1)) return false;
    for (const block of blocks) this.#asked[block] = (this.#asked[block] ?? 0) + 1;
    return true;
  }

  /** It will not come from whom it was asked of. */
  giveUp(range: BlockRange): void {
    for (const block of this.#blocks(range)) {
      const asked = this.#asked[block] ?? 0;
      if (asked > 0) this.#asked[block] = asked - 1;
      if (asked === 1 && this.#here[block] === 0) this.#firstFree = Math.min(this.#firstFree, block);
    }
  }

  /** Its first byte is here. */
  begin({ offset, length }: BlockRange): Filling {
    const blocks = this.#blocks({ offset, length });
    const [first = 0] = blocks;
    const taken = [...this.#arriving].some(
      (other) => other.first < first + blocks.length && first < other.first + lengthOf(other) / BLOCK,
    );
    const aside = taken || blocks.some((block) => this.#here[block] === 1);
    const target = aside ? Buffer.allocUnsafe(length) : this.bytes.subarray(offset, offset + length);
    const arriving: Arriving = { first, aside, target };
    this.#arriving.add(arriving);
    return arriving;
  }

  /** Its last byte is here. @returns the bytes of it that were still missing */
  filled(range: BlockRange, filling: Filling): number {
    const arriving = filling as Arriving;
    this.#arriving.delete(arriving);
    this.giveUp(range);
    if (arriving.target === undefined) return 0;
    let added = 0;
    for (const block of this.#blocks(range)) {
      if (this.#here[block] === 1) continue;
      const start = block * BLOCK;
      const end = Math.min(start + BLOCK, this.length);
      if (arriving.aside)
        this.bytes.set(arriving.target.subarray(start - range.offset, end - range.offset), start);
      this.#here[block] = 1;
      this.#missing--;
      added += end - start;
    }
    if (arriving.aside) this.#redirect(range);
    return added;
  }

  /** The connection ended within a block. */
  brokeOff(filling: Filling): void {
    this.#arriving.delete(filling as Arriving);
  }

  /** Nobody writes into its bytes from now on. */
  seal(): void {
    for (const arriving of this.#arriving) arriving.target = undefined;
    this.#arriving.clear();
  }

  /** It is not wanted any more. @returns the bytes of it that were here */
  drop(): number {
    this.seal();
    givePieceBuffer(this.bytes);
    return this.#here.reduce(
      (sum, here, block) => sum + here * (Math.min((block + 1) * BLOCK, this.length) - block * BLOCK),
      0,
    );
  }

  /** What came from another side is here: who is slower writes nowhere. */
  #redirect(range: BlockRange): void {
    const [first = 0, ...more] = this.#blocks(range);
    for (const arriving of this.#arriving) {
      const end = arriving.first + lengthOf(arriving) / BLOCK;
      if (!arriving.aside && arriving.first <= first + more.length && first < end)
        arriving.target = undefined;
    }
  }

  #isFree(block: number): boolean {
    return this.#asked[block] === 0 && this.#here[block] === 0;
  }

  #blocks({ offset, length }: BlockRange): number[] {
    const first = Math.floor(offset / BLOCK);
    return Array.from({ length: Math.ceil(length / BLOCK) }, (_, at) => first + at);
  }
}

function lengthOf({ target }: Arriving): number {
  return target?.length ?? 0;
}
