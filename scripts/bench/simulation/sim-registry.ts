import type { OpenPiece } from '../../../src/swarm/pieces/pieces.ts';
import type { RegistryPieces } from '../../../src/swarm/claims/swarm-view.ts';
import type { Delivered } from '../../../src/swarm/pieces/delivery.ts';
import type { Flow, Gateway } from './gateway.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface SimRegistryOptions {
  readonly clock: VirtualClock;
  readonly gateway: Gateway;
  readonly pieceBytes: (index: number) => number;
  /** From a request to its first byte. */
  readonly delayMs: number;
  /** What the node's link takes now, bytes per millisecond. */
  readonly most: () => number;
  readonly onPiece: (index: number) => void;
}

class Open implements OpenPiece {
  readonly #received: () => number;
  requested = false;

  constructor(received: () => number) {
    this.#received = received;
  }

  get received(): number {
    return this.#received();
  }
}

interface Opened {
  readonly index: number;
  readonly open: Open;
}

/** RegistrySeed in virtual time: pieces in runs of neighbours, one request for each run. */
export class SimRegistry implements RegistryPieces {
  readonly #options: SimRegistryOptions;
  readonly #open = new Map<number, Open>();
  /** Pieces that arrive now, and what comes behind them. */
  readonly #arriving = new Map<number, { readonly flow: Flow; readonly rest: readonly Opened[] }>();
  #isOver = false;
  readonly lost = undefined;
  #whole = 0;
  #busyMs = 0;
  #busySince = 0;

  constructor(options: SimRegistryOptions) {
    this.#options = options;
  }

  get open(): ReadonlyMap<number, OpenPiece> {
    return this.#open;
  }

  get flows(): number {
    return this.#arriving.size;
  }

  get delivered(): Delivered {
    const now = this.#options.clock.now;
    return { bytes: this.received, ms: this.#busyMs + (this.#arriving.size > 0 ? now - this.#busySince : 0) };
  }

  get received(): number {
    let bytes = this.#whole;
    for (const [index, { flow }] of this.#arriving) {
      bytes += this.#options.pieceBytes(index) - this.#options.gateway.leftOf(flow);
    }
    return bytes;
  }

  /** What arrives now, bytes per millisecond. */
  get rate(): number {
    let rate = 0;
    for (const { flow } of this.#arriving.values()) rate += flow.rate;
    return rate;
  }

  isBackingOff(): boolean {
    return false;
  }

  fetch(indexes: readonly number[], delayMs: number): void {
    const { pieceBytes, gateway, clock } = this.#options;
    const opened = indexes.map((index) => {
      const open = new Open(() => {
        const flow = this.#arriving.get(index)?.flow;
        return flow === undefined ? 0 : pieceBytes(index) - gateway.leftOf(flow);
      });
      this.#open.set(index, open);
      return { index, open };
    });
    clock.after(delayMs, () => {
      let run: Opened[] = [];
      for (const piece of opened) {
        if (this.#open.get(piece.index) !== piece.open) continue;
        if (run.length > 0 && run.at(-1)?.index !== piece.index - 1) {
          this.#request(run);
          run = [];
        }
        run.push(piece);
      }
      this.#request(run);
    });
  }

  release(indexes: readonly number[]): void {
    for (const index of indexes) {
      this.#open.delete(index);
      const arriving = this.#arriving.get(index);
      if (arriving === undefined) continue;
      this.#ended(index);
      this.#whole += this.#options.pieceBytes(index) - this.#options.gateway.leftOf(arriving.flow);
      this.#options.gateway.breakOff(arriving.flow);
      this.#request(this.#stillOpen(arriving.rest));
    }
  }

  close(): void {
    this.#isOver = true;
    this.release([...this.#open.keys()]);
  }

  #request(run: readonly Opened[]): void {
    const [first] = run;
    if (first === undefined || this.#isOver) return;
    first.open.requested = true;
    this.#options.clock.after(this.#options.delayMs, () => this.#arrive(run));
  }

  #arrive([piece, ...rest]: readonly Opened[]): void {
    const { clock, gateway, pieceBytes, most, onPiece } = this.#options;
    if (piece === undefined || this.#isOver) return;
    const { index, open } = piece;
    // Let go before its turn came: the range ends here, what lies behind it is asked for anew.
    if (this.#open.get(index) !== open) return this.#request(this.#stillOpen(rest));
    open.requested = true;
    const flow = gateway.start(pieceBytes(index), most, () => {
      this.#ended(index);
      this.#open.delete(index);
      this.#whole += pieceBytes(index);
      onPiece(index);
      this.#arrive(rest);
    });
    if (this.#arriving.size === 0) this.#busySince = clock.now;
    this.#arriving.set(index, { flow, rest });
  }

  #ended(index: number): void {
    this.#arriving.delete(index);
    if (this.#arriving.size === 0) this.#busyMs += this.#options.clock.now - this.#busySince;
  }

  #stillOpen(run: readonly Opened[]): readonly Opened[] {
    return run.filter(({ index, open }) => this.#open.get(index) === open);
  }
}
