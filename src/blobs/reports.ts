import { randomBytes } from 'node:crypto';
import { delay } from '../base/retry.ts';
import { isQuayctlError } from '../base/errors.ts';

/** The last report of a layer is tried so often. */
const ATTEMPTS = 4;
const RETRY_MS = 1000;
/** When the process is about to end, reports under way get so long. */
const LAST_MS = 1500;

/** The reports of one process to torrent services (docs/protocol.md, "Reports"): who sends them, and the last ones under way. */
export class Reports {
  readonly version: string;
  /** Names this process where it is in no swarm. */
  readonly run = randomBytes(20).toString('hex');
  readonly #pending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #end = new AbortController();

  constructor(version: string) {
    this.version = version;
  }

  /** Ends the sending of what is not a last word. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Sends a last word beside everything else; a service that does not answer is tried again for some seconds. */
  sendLast(send: (signal: AbortSignal) => Promise<void>): void {
    const sending = this.#insist(send).finally(() => this.#pending.delete(sending));
    this.#pending.add(sending);
  }

  /** Waits a moment for what is under way; never throws. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = setTimeout(() => this.#end.abort(), LAST_MS);
    await Promise.all(this.#pending);
    clearTimeout(timer);
  }

  async #insist(send: (signal: AbortSignal) => Promise<void>): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS && !this.#end.signal.aborted; attempt++) {
      try {
        return await send(this.#end.signal);
      } catch (error) {
        // What a service thinks of reports is no matter of the pull.
        const isWorthIt = isQuayctlError(error, 'unreachable') && !this.closing.aborted;
        if (!isWorthIt || attempt === ATTEMPTS) return;
        await delay(RETRY_MS * 2 ** (attempt - 1), this.closing).catch(() => undefined);
      }
    }
  }
}
