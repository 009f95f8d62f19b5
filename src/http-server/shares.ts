import type { Release } from '../base/turns.ts';

/** How much is used at one time, in all and for one site (`addressGroup`). */
export interface ShareLimits {
  readonly most: number;
  readonly mostEach: number;
}

/** Bounds something that requests use while they last, so that no site takes all of it: places, bytes. */
export class Shares {
  readonly #limits: ShareLimits;
  readonly #used = new Map<string, number>();
  #all = 0;

  constructor(limits: ShareLimits) {
    this.#limits = limits;
  }

  /** @returns undefined where the bound would be passed; else gives the share back, once */
  take(site: string, amount = 1): Release | undefined {
    const used = this.#used.get(site) ?? 0;
    if (this.#all + amount > this.#limits.most || used + amount > this.#limits.mostEach) return undefined;
    this.#all += amount;
    this.#used.set(site, used + amount);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#all -= amount;
      const left = (this.#used.get(site) ?? amount) - amount;
      if (left === 0) this.#used.delete(site);
      else this.#used.set(site, left);
    };
  }
}
