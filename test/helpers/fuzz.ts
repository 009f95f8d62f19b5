import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { QuayctlError, type ErrorCode } from '../../src/base/errors.ts';

/** Processor time that no input of a fuzz test may take, milliseconds: how loaded the machine is makes no difference. */
const SLOW_MS = 1000;
/** All inputs of one parser together may not raise the peak of this process's memory by more. */
const MAX_GROWTH_BYTES = 256 * 1024 * 1024;
/** `scripts/fuzz` sets another count; the contract of CI is 20,000. */
const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 20_000);

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

  /**
   * A copy with one to four changes: bytes set, runs cut out or doubled, now and then a hundred times over, or put in
   * from `pieces`.
   */
  mutate(bytes: Uint8Array, pieces: readonly Uint8Array[] = []): Uint8Array {
    let mutant = Buffer.from(bytes);
    for (let change = 1 + this.below(4); change > 0; change--) {
      const at = this.below(mutant.length + 1);
      const rest = mutant.subarray(at);
      const run = this.below(Math.min(16, rest.length) + 1);
      const times = this.below(50) === 0 ? 100 : 1;
      const insert = this.pick([
        Buffer.from([this.below(256)]),
        rest.subarray(0, run),
        pieces.length > 0 ? this.pick(pieces) : Buffer.alloc(0),
      ]);
      const inserts = Array.from({ length: times }, () => insert);
      mutant = Buffer.concat([mutant.subarray(0, at), ...inserts, rest.subarray(this.pick([0, 1, run]))]);
    }
    return mutant;
  }
}

export interface FuzzOptions {
  readonly rounds?: number;
  /** The codes with which foreign input may be refused; default: any. */
  readonly codes?: readonly ErrorCode[];
}

/**
 * Runs `parse` on what `input` makes: it may return, or throw a QuayctlError of one of `codes`, in good time and
 * without eating memory. The seed stands in the test's output; FUZZ_SEED runs the same inputs again.
 */
export async function neverBreaks<Input>(
  t: TestContext,
  input: (random: Random) => Input,
  parse: (input: Input) => unknown,
  { rounds = ROUNDS, codes = [] }: FuzzOptions = {},
): Promise<void> {
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const before = peakMemory();
  for (let round = 0; round < rounds; round++) {
    const tried = input(random);
    const where = (): string => `FUZZ_SEED=${seed} round ${round}: ${shown(tried)}`;
    const started = process.cpuUsage();
    try {
      const outcome = parse(tried);
      if (outcome instanceof Promise) await outcome;
    } catch (error) {
      const isFair = error instanceof QuayctlError && (codes.length === 0 || codes.includes(error.code));
      if (!isFair) assert.fail(`${where()}: ${error instanceof Error ? error.stack : String(error)}`);
    }
    const { user, system } = process.cpuUsage(started);
    const took = (user + system) / 1000;
    assert.ok(took < SLOW_MS, `${where()} took ${took.toFixed(0)} ms of the processor`);
  }
  const growth = peakMemory() - before;
  assert.ok(growth < MAX_GROWTH_BYTES, `FUZZ_SEED=${seed}: memory grew by ${growth} bytes`);
}

/** Bytes; the most that this process ever had. */
function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}

function shown(input: unknown): string {
  const text = input instanceof Uint8Array ? Buffer.from(input).toString('latin1') : String(input);
  return JSON.stringify(text.slice(0, 2000));
}
