/** Pieces as bits, for quick intersections. */
export class PieceSet {
  readonly words: Uint32Array;
  count = 0;

  constructor(pieceCount: number, full = false) {
    this.words = new Uint32Array(Math.ceil(pieceCount / 32));
    if (full) for (let index = 0; index < pieceCount; index++) this.add(index);
  }

  has(index: number): boolean {
    return (((this.words[index >> 5] as number) >>> (index & 31)) & 1) === 1;
  }

  add(index: number): void {
    if (this.has(index)) return;
    this.words[index >> 5] = (this.words[index >> 5] as number) | (1 << (index & 31));
    this.count++;
  }

  delete(index: number): void {
    if (!this.has(index)) return;
    this.words[index >> 5] = (this.words[index >> 5] as number) & ~(1 << (index & 31));
    this.count--;
  }

  /** Calls for each piece that is in both. */
  forEachCommon(other: PieceSet, visit: (index: number) => void): void {
    for (let word = 0; word < this.words.length; word++) {
      let bits = (this.words[word] as number) & (other.words[word] as number);
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits);
        visit(word * 32 + bit);
        bits &= bits - 1;
      }
    }
  }
}
