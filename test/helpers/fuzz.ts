import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';

/** No input of a fuzz test may take longer, on a loaded machine either; milliseconds. */
const SLOW_MS = 1000;

/** Numbers that come again with the same seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to `limit` - 1 (mulberry32). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit) | 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  /** A copy with one to four changes: bytes set, runs cut out, doubled, or put in from `pieces`. */
  mutate(bytes: Uint8Array, pieces: readonly Uint8Array[] = []): Uint8Array {
    let mutant = Buffer.from(bytes);
    for (let change = 1 + this.below(4); change > 0; change--) {
      const at = this.below(mutant.length + 1);
      const rest = mutant.subarray(at);
      const run = this.below(Math.min(16, rest.length) + 1);
      const insert = this.pick([
        Buffer.from([this.below(256)]),
        rest.subarray(0, run),
        pieces.length > 0 ? this.pick(pieces) : Buffer.alloc(0),
      ]);
      mutant = Buffer.concat([mutant.subarray(0, at), insert, rest.subarray(this.pick([0, 1, run]))]);
    }
    return mutant;
  }
}

/**
 * Runs `parse` on what `input` makes, `rounds` times: it may return, or throw a QuayctlError, in good time. The
 * seed stands in the test's output; FUZZ_SEED runs the same inputs again.
 */
export function neverBreaks<Input>(
  t: TestContext,
  rounds: number,
  input: (random: Random) => Input,
  parse: (input: Input) => void,
): void {
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < rounds; round++) {
    const tried = input(random);
    const started = performance.now();
    try {
      parse(tried);
    } catch (error) {
      if (!(error instanceof QuayctlError)) {
        assert.fail(`FUZZ_SEED=${seed} round ${round}: ${shown(tried)}: ${String(error)}`);
      }
    }
    const took = performance.now() - started;
    assert.ok(took < SLOW_MS, `FUZZ_SEED=${seed} round ${round}: ${shown(tried)} took ${took.toFixed(0)} ms`);
  }
}

function shown(input: unknown): string {
  const text = input instanceof Uint8Array ? Buffer.from(input).toString('latin1') : String(input);
  return JSON.stringify(text.slice(0, 2000));
}
