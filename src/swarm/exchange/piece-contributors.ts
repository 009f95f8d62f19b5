import type { PeerWire } from '../wire/peer-wire.ts';

/**
 * Who gave blocks of which piece. A piece that does not verify names its liar when one peer gave all of it; else it
 * is next taken from one peer alone.
 */
export class PieceContributors {
  readonly #givers = new Map<number, Set<PeerWire>>();
  /** Pieces that failed with several givers -> the one who may give them now. */
  readonly #exclusive = new Map<number, PeerWire | undefined>();

  gave(index: number, wire: PeerWire): void {
    let givers = this.#givers.get(index);
    if (givers === undefined) this.#givers.set(index, (givers = new Set()));
    givers.add(wire);
  }

  /** It has verified, or is not wanted of peers any more. */
  clear(index: number): void {
    this.#givers.delete(index);
    this.#exclusive.delete(index);
  }

  /** It did not verify. @returns the liar, where it is known */
  failed(index: number): PeerWire | undefined {
    const [first, ...others] = this.#givers.get(index) ?? [];
    this.#givers.delete(index);
    if (others.length === 0) {
      this.#exclusive.delete(index);
      return first;
    }
    this.#exclusive.set(index, undefined);
    return undefined;
  }

  /** Somebody else is giving all of it. */
  isForAnother(index: number, wire: PeerWire): boolean {
    if (!this.#exclusive.has(index)) return false;
    const owner = this.#exclusive.get(index);
    if (owner === undefined) this.#exclusive.set(index, wire);
    return owner !== undefined && owner !== wire;
  }

  /** It is gone, or brings nothing: others may. */
  disown(wire: PeerWire): void {
    for (const [index, owner] of this.#exclusive) if (owner === wire) this.#exclusive.set(index, undefined);
  }
}
