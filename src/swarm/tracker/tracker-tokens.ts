import { isQuayctlError } from '../../base/errors.ts';

/** A token is renewed after this part of its life, and before the other: the nodes of a swarm not all together. */
const RENEW_EARLIEST = 0.5;
const RENEW_LATEST = 0.75;
const RENEWAL_TIMEOUT_MS = 20_000;
/** A service that is away is not asked at every announce. */
const RETRY_MS = 30_000;
/** A tracker that refuses whatever it is shown makes nobody ask the service without end. */
const REPLACE_AT_MOST_EVERY_MS = 60_000;

type Renew = (signal: AbortSignal) => Promise<readonly string[]>;

/**
 * A torrent's trackers with their announce tokens (protocol.md, "Tokens"). Time is counted from when a token came, as
 * it is fresh then: the clock of this machine may be wrong.
 */
export class TrackerTokens {
  readonly #renew: Renew | undefined;
  /** Tracker without query -> its URL. */
  readonly #urls = new Map<string, string>();
  /** Milliseconds on the clock of performance.now. */
  #dueAt = Infinity;
  #replacedAt = -Infinity;
  #renewing: Promise<void> | undefined;

  constructor(trackers: readonly string[], renew: Renew | undefined) {
    this.#renew = renew;
    for (const tracker of trackers) this.#urls.set(placeOf(tracker), tracker);
    this.#dueAt = dueAt(trackers);
  }

  /** The trackers by name: their URLs without query. */
  get places(): readonly string[] {
    return [...this.#urls.keys()];
  }

  /** As it is now. */
  urlOf(place: string): string {
    return this.#urls.get(place) ?? place;
  }

  /** With a token that has a while to live, where one is to be had. @throws the signal's reason */
  async fresh(place: string, signal: AbortSignal): Promise<string> {
    if (this.#renewing !== undefined || performance.now() >= this.#dueAt) await this.#renewAll(signal);
    return this.urlOf(place);
  }

  /** Another token in the place of a refused one; undefined where there is none. @throws the signal's reason */
  async replaced(refused: string, place: string, signal: AbortSignal): Promise<string | undefined> {
    const isTime = performance.now() - this.#replacedAt >= REPLACE_AT_MOST_EVERY_MS;
    if (this.urlOf(place) === refused && (isTime || this.#renewing !== undefined)) {
      this.#replacedAt = performance.now();
      await this.#renewAll(signal);
    }
    const url = this.urlOf(place);
    return url === refused ? undefined : url;
  }

  /** One question for all trackers, whoever needs it first. What fails leaves the old tokens in place. */
  async #renewAll(signal: AbortSignal): Promise<void> {
    const renew = this.#renew;
    if (renew === undefined) return;
    this.#renewing ??= this.#ask(renew, signal).finally(() => (this.#renewing = undefined));
    await this.#renewing;
    signal.throwIfAborted();
  }

  async #ask(renew: Renew, signal: AbortSignal): Promise<void> {
    this.#dueAt = performance.now() + RETRY_MS;
    try {
      const trackers = await renew(AbortSignal.any([signal, AbortSignal.timeout(RENEWAL_TIMEOUT_MS)]));
      // Others than at first would have to be started and stopped.
      for (const tracker of trackers) {
        if (this.#urls.has(placeOf(tracker))) this.#urls.set(placeOf(tracker), tracker);
      }
      this.#dueAt = dueAt(trackers);
    } catch (error) {
      const isTimeout = error instanceof DOMException;
      if (!signal.aborted && !isTimeout && !isQuayctlError(error)) throw error;
    }
  }
}

function placeOf(tracker: string): string {
  return tracker.split(/[?#]/, 1)[0] ?? tracker;
}

/** When the first of the tokens is to be renewed. */
function dueAt(trackers: readonly string[]): number {
  const lives = trackers.map(lifeMs).filter((life) => life !== undefined);
  const part = RENEW_EARLIEST + Math.random() * (RENEW_LATEST - RENEW_EARLIEST);
  return performance.now() + Math.min(...lives) * part;
}

/** `exp - iat` of the token in an announce URL (RFC 7519); undefined where there is none that ends. */
function lifeMs(tracker: string): number | undefined {
  const token = URL.parse(tracker)?.searchParams.get('jwt');
  const [, payload = ''] = token?.split('.') ?? [];
  try {
    const { exp, iat } = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    const life = typeof exp === 'number' && typeof iat === 'number' ? (exp - iat) * 1000 : undefined;
    return life !== undefined && life > 0 ? life : undefined;
  } catch {
    return undefined;
  }
}
