import { orAborted } from './abort.ts';
import { QuayctlError } from './errors.ts';

export interface TurnLimits {
  /** Goes into the error: `derived images`. */
  readonly what: string;
  /** Work that runs at the same time. */
  readonly atOnce: number;
  /** Of it for one site, so that there is always a place for another one. */
  readonly atOnceEach: number;
  /** Work that runs or waits. */
  readonly most: number;
  /** Of it for one claimant. */
  readonly mostEach: number;
  /**
   * Further places, for sites that have waited for `spareAfterMs` milliseconds while nothing was done for them: a few sites
   * can hold all others for as long as their work takes, and it can be made to take long.
   */
  readonly spare?: number;
  readonly spareAfterMs?: number;
}

/**
 * For whom work is done: who shares a bound. The first is the site (`addressGroup`), in whose name turns are given; more
 * may follow, such as the subject of a credential.
 */
export type Claimants = readonly [site: string, ...more: string[]];

/** Gives back a place. Idempotent. */
export type Release = () => void;

/**
 * Places for costly work. Sites take turns, so that a site that asks for little does not wait behind one that asks for
 * much.
 */
export class Turns {
  readonly #limits: TurnLimits;
  /** Work that runs or waits, by claimant. */
  readonly #claims = new Map<string, number>();
  readonly #runningOf = new Map<string, number>();
  /** By site; the site that was served last stands last. */
  readonly #waiting = new Map<string, Waiting[]>();
  #all = 0;
  #running = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /**
   * Enters the queue at once, so that work over the bound is refused before anything is spent on it.
   * @returns `turn` is called once, and resolves when the work may begin; `release` always
   * @throws QuayctlError `limit`
   */
  enter(claimants: Claimants): { turn: (signal: AbortSignal) => Promise<void>; release: Release } {
    const { what, most, mostEach } = this.#limits;
    if (this.#all >= most) throw new QuayctlError('limit', `more than ${most} ${what} wait`);
    if (claimants.some((each) => (this.#claims.get(each) ?? 0) >= mostEach)) {
      throw new QuayctlError('limit', `more than ${mostEach} ${what} wait for this client or its site`);
    }
    this.#all++;
    for (const each of claimants) this.#claims.set(each, (this.#claims.get(each) ?? 0) + 1);
    const [site] = claimants;
    let isRunning = false;
    let isOver = false;
    const begin = (): void => {
      isRunning = true;
      this.#running++;
      this.#runningOf.set(site, (this.#runningOf.get(site) ?? 0) + 1);
    };
    return {
      turn: (signal) => this.#wait(site, begin, signal),
      release: () => {
        if (isOver) return;
        isOver = true;
        this.#all--;
        for (const each of claimants) decrease(this.#claims, each);
        if (!isRunning) return;
        this.#running--;
        decrease(this.#runningOf, site);
        this.#next();
      },
    };
  }

  async #wait(site: string, begin: () => void, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const start = (): void => {
      begin();
      turn.resolve();
    };
    const { spareAfterMs = Infinity } = this.#limits;
    const waiting = { start, lateAt: performance.now() + spareAfterMs };
    const queue = this.#waiting.get(site) ?? [];
    this.#waiting.set(site, queue);
    queue.push(waiting);
    this.#next();
    const timer = spareAfterMs === Infinity ? undefined : setTimeout(() => this.#next(), spareAfterMs);
    try {
      await orAborted(turn.promise, signal);
    } catch (error) {
      // A turn that came in the same moment is given back by `release`.
      this.#leave(site, waiting);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #leave(site: string, waiting: Waiting): void {
    const queue = this.#waiting.get(site) ?? [];
    const at = queue.indexOf(waiting);
    if (at >= 0) queue.splice(at, 1);
    if (queue.length === 0) this.#waiting.delete(site);
  }

  #next(): void {
    const { atOnce, spare = 0 } = this.#limits;
    while (this.#running < atOnce + spare) {
      const site = this.#running < atOnce ? this.#nextSite() : this.#lateSite();
      if (site === undefined) return;
      const queue = this.#waiting.get(site) ?? [];
      const next = queue.shift();
      // Behind all others, if more of it waits.
      this.#waiting.delete(site);
      if (queue.length > 0) this.#waiting.set(site, queue);
      next?.start();
    }
  }

  /** Of the sites that wait, the one for which least is done now. */
  #nextSite(): string | undefined {
    let least = this.#limits.atOnceEach;
    let found: string | undefined;
    for (const site of this.#waiting.keys()) {
      const running = this.#runningOf.get(site) ?? 0;
      if (running < least) [least, found] = [running, site];
    }
    return found;
  }

  /** The first that nothing is done for, and that has waited for long. */
  #lateSite(): string | undefined {
    const now = performance.now();
    for (const [site, [first]] of this.#waiting) {
      if (first !== undefined && first.lateAt <= now && !this.#runningOf.has(site)) return site;
    }
    return undefined;
  }
}

interface Waiting {
  readonly start: () => void;
  /** From when on a spare place will do; milliseconds of performance.now(). */
  readonly lateAt: number;
}

function decrease(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 1) - 1;
  if (left === 0) counts.delete(key);
  else counts.set(key, left);
}
