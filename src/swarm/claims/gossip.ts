import type { RelayedMessage } from './claim-messages.ts';

/** News is passed on together, no more often than this, milliseconds: at the start of a large swarm all have some. */
const TOGETHER_MS = 40;

/** What a node has heard of others' claims and is to pass on. What is let go before it was passed on, never is. */
export class Gossip {
  #made = new Map<string, { readonly index: number; readonly tag: number }>();
  #ended = new Map<string, { readonly index: number; readonly tag: number }>();
  #passedAt = -Infinity;

  note({ kind, claims }: RelayedMessage): void {
    for (const claim of claims) {
      const key = `${claim.index} ${claim.tag}`;
      if (kind === 'relayed') this.#made.set(key, claim);
      else if (!this.#made.delete(key)) this.#ended.set(key, claim);
    }
  }

  /** What is to be told now. */
  take(now: number): readonly RelayedMessage[] {
    if (now - this.#passedAt < TOGETHER_MS || this.#made.size + this.#ended.size === 0) return [];
    this.#passedAt = now;
    const messages: RelayedMessage[] = [
      { kind: 'withdrawn', claims: [...this.#ended.values()] },
      { kind: 'relayed', claims: [...this.#made.values()] },
    ];
    this.#made = new Map();
    this.#ended = new Map();
    return messages.filter(({ claims }) => claims.length > 0);
  }
}
