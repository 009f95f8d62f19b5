import { isQuayctlError } from '../../base/errors.ts';
import type { TrackerAddress } from '../../metainfo/tracker-address.ts';

/**
 * A token is renewed somewhere between these parts of its life: not all nodes at once, and with time left for a service
 * that is down for a while.
 */
const RENEW_EARLIEST = 0.5;
const RENEW_LATEST = 0.75;
/** After a failed renewal the service is not asked again before this, milliseconds. */
const RETRY_MS = 30_000;
/** Refused tokens are replaced at most this often, milliseconds: a tracker may refuse all of them. */
const REPLACE_AT_MOST_EVERY_MS = 60_000;
/** The service asks the registry for permission, milliseconds. An announce must not wait for it for ever. */
const RENEWAL_TIMEOUT_MS = 30_000;

/** The trackers of the torrent with new tokens, from whoever issues them. */
export type RenewTrackers = (signal: AbortSignal) => Promise<readonly TrackerAddress[]>;

/** The trackers of one torrent, whose announce tokens are renewed before they expire. Trackers are known by their key. */
export class TrackerTokens {
  readonly #renew: RenewTrackers | undefined;
  readonly #trackers = new Map<string, TrackerAddress>();
  /** On the clock of performance.now: the wall clock may be wrong. */
  #dueAt: number;
  #replacedAt = -Infinity;
  #renewing: Promise<void> | undefined;

  /** @param renew undefined: nobody can be asked for new tokens */
  constructor(trackers: readonly TrackerAddress[], renew: RenewTrackers | undefined) {
    this.#renew = renew;
    for (const tracker of trackers) this.#trackers.set(tracker.key, tracker);
    this.#dueAt = dueAt(trackers);
  }

  /** The trackers with the tokens that they have now. */
  get trackers(): readonly TrackerAddress[] {
    return [...this.#trackers.values()];
  }

  /** The tracker with the token that it has now. */
  current(tracker: TrackerAddress): TrackerAddress {
    return this.#trackers.get(tracker.key) ?? tracker;
  }

  /** The tracker with a token that is good for a while, where one can be had. @throws the signal's reason */
  async fresh(tracker: TrackerAddress, signal: AbortSignal): Promise<TrackerAddress> {
    if (this.#renewing !== undefined || performance.now() >= this.#dueAt) await this.#renewAll(signal);
    return this.current(tracker);
  }

  /**
   * The tracker with another token than the one that it refused.
   * @returns undefined where there is no other token
   * @throws the signal's reason
   */
  async replaced(refused: TrackerAddress, signal: AbortSignal): Promise<TrackerAddress | undefined> {
    const isTime = performance.now() - this.#replacedAt >= REPLACE_AT_MOST_EVERY_MS;
    if (isSame(this.current(refused), refused) && (isTime || this.#renewing !== undefined)) {
      this.#replacedAt = performance.now();
      await this.#renewAll(signal);
    }
    const current = this.current(refused);
    return isSame(current, refused) ? undefined : current;
  }

  /** One question for all trackers, whichever needs it first. A failed renewal leaves the old tokens in place. */
  async #renewAll(signal: AbortSignal): Promise<void> {
    const renew = this.#renew;
    if (renew === undefined) return;
    this.#renewing ??= this.#ask(renew, signal).finally(() => (this.#renewing = undefined));
    await this.#renewing;
    signal.throwIfAborted();
  }

  async #ask(renew: RenewTrackers, signal: AbortSignal): Promise<void> {
    this.#dueAt = performance.now() + RETRY_MS;
    try {
      const trackers = await renew(AbortSignal.any([signal, AbortSignal.timeout(RENEWAL_TIMEOUT_MS)]));
      // Trackers that were not there at first are left out: they would have to be started and stopped.
      for (const tracker of trackers) {
        if (this.#trackers.has(tracker.key)) this.#trackers.set(tracker.key, tracker);
      }
      this.#dueAt = dueAt(trackers);
    } catch (error) {
      const isTimeout = error instanceof DOMException;
      if (!signal.aborted && !isTimeout && !isQuayctlError(error)) throw error;
    }
  }
}

function isSame(one: TrackerAddress, other: TrackerAddress): boolean {
  return one.token === undefined ? other.token === undefined : one.token.equals(other.token);
}

/** When the first of the tokens is to be renewed. */
function dueAt(trackers: readonly TrackerAddress[]): number {
  const lives = trackers.map(({ token }) => token?.lifetimeMs).filter((life) => life !== undefined);
  const part = RENEW_EARLIEST + Math.random() * (RENEW_LATEST - RENEW_EARLIEST);
  return performance.now() + Math.min(...lives) * part;
}
