import type { TestContext } from 'node:test';

const realImmediate = setImmediate;
/** Finer than what the code under test distinguishes. */
const STEP_MS = 10;

/**
 * Timers and `performance.now` of one test, moved by hand: minutes of waiting take milliseconds, and no result depends
 * on how busy the machine is. Code that is tested so uses the global timers, or those of `base/retry.ts`.
 */
export class VirtualTime {
  readonly #context: TestContext;
  #now = 0;

  constructor(context: TestContext) {
    this.#context = context;
    context.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    context.mock.method(performance, 'now', () => this.#now);
  }

  /** Milliseconds since the test began. */
  get now(): number {
    return this.#now;
  }

  async advance(ms: number): Promise<void> {
    await settled();
    for (const end = this.#now + ms; this.#now < end;) {
      const step = Math.min(STEP_MS, end - this.#now);
      this.#now += step;
      this.#context.mock.timers.tick(step);
      await settled();
    }
  }

  /** Lets time pass until the promise settles. @throws what it throws, and where an hour was not enough */
  async until<Result>(promise: Promise<Result>): Promise<Result> {
    const state = { isSettled: false };
    const mark = (): void => void (state.isSettled = true);
    promise.then(mark, mark);
    for (await settled(); !state.isSettled; await this.advance(STEP_MS)) {
      if (this.#now > 3_600_000) throw new Error('nothing has come of it in an hour of virtual time');
    }
    return promise;
  }
}

/** Everything that can go on without time has gone on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => realImmediate(resolve));
}
