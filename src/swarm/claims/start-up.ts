/** Peers that a tracker named are waited for, with few pieces open, for this long. Milliseconds. */
const EXPECT_MS = 3000;
/** Where the tracker names seeders, nothing is opened for this long. Trackers go on naming machines that are gone for a while. */
const SEEDERS_MS = 500;
/** While no tracker has answered, nodes that start together begin one after the other: no sooner, and within. */
const EARLY_FIRST_MS = 150;
const EARLY_SPREAD_MS = 350;

/** When a node may begin at the registry: after the tracker has answered, or when it is its turn. Time is given. */
export class StartUp {
  /** When this node's turn comes, milliseconds after the first announce. */
  readonly earlyMs: number;
  /** It is this node's turn, whoever may answer later. */
  isEarly = false;
  /** The tracker has answered, or has had its time. */
  isSettled = false;
  #expectingUntil = -Infinity;
  #seeders = false;

  /** @param tag peerTag of this node */
  constructor(tag: number) {
    this.earlyMs = EARLY_FIRST_MS + (tag / 2 ** 32) * EARLY_SPREAD_MS;
  }

  /** The tracker named peers. @param seeders some of them have everything */
  expect(seeders: boolean, now: number): void {
    this.#expectingUntil = now + EXPECT_MS;
    this.#seeders = seeders;
    this.isSettled = true;
  }

  /** Peers that the tracker named and that have not had the time to answer. */
  expecting(now: number): 'none' | 'leechers' | 'seeders' {
    if (now >= this.#expectingUntil) return 'none';
    const isEarly = now < this.#expectingUntil - EXPECT_MS + SEEDERS_MS;
    return this.#seeders && isEarly ? 'seeders' : 'leechers';
  }
}
