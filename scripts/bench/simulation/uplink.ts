import type { VirtualClock } from './virtual-clock.ts';

/** Something to be sent. */
export interface Parcel {
  readonly bytes: number;
  state: 'waiting' | 'sent' | 'cancelled';
  readonly onSent: () => void;
}

/** A node's link in one direction: sends what was asked for in its order, and skips what was taken back. */
export class Uplink {
  readonly #clock: VirtualClock;
  readonly #rate: number;
  readonly #queue: Parcel[] = [];
  #next = 0;
  #isBusy = false;

  /** @param rate bytes per millisecond */
  constructor(clock: VirtualClock, rate: number) {
    this.#clock = clock;
    this.#rate = rate;
  }

  send(parcel: Parcel): void {
    this.#queue.push(parcel);
    if (!this.#isBusy) this.#serve();
  }

  #serve(): void {
    let parcel = this.#queue[this.#next++];
    while (parcel?.state === 'cancelled') parcel = this.#queue[this.#next++];
    if (parcel === undefined) {
      this.#queue.length = 0;
      this.#next = 0;
      this.#isBusy = false;
      return;
    }
    this.#isBusy = true;
    const { bytes, onSent } = parcel;
    parcel.state = 'sent';
    this.#clock.after(bytes / this.#rate, () => {
      onSent();
      this.#serve();
    });
  }
}
