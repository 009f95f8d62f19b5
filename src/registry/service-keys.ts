import { QuayctlError } from '../base/errors.ts';
import { dumpBody, readBody, type HttpAnswer } from '../http/http.ts';

/** A service has two or three keys of half a kilobyte each. */
const MAX_KEY_SET_BYTES = 64 * 1024;
/** Peers can name keys that do not exist: the service is asked no more often than this. Milliseconds. */
const ASK_AT_MOST_EVERY_MS = 60_000;

/** Where a torrent service has its key set (RFC 7517), below its base. */
export const KEY_SET_PATH = '/.well-known/jwks.json';

/** Asks for the key set. */
export type AskForKeys = (signal: AbortSignal) => Promise<{ readonly answer: HttpAnswer; readonly url: URL }>;

/** The key set of a torrent service: with its keys nodes check each other's announce tokens. Kept for the whole run. */
export class ServiceKeySet {
  readonly #ask: AskForKeys;
  #keys: { readonly keys: readonly unknown[] } | undefined;
  #askedAt = -Infinity;
  #asking: Promise<void> | undefined;

  constructor(ask: AskForKeys) {
    this.#ask = ask;
  }

  /**
   * @param kid of the key that is looked for: the set is asked for again where it is not in it
   * @returns a JWK set, not checked
   * @throws QuayctlError `unreachable`, `protocol`, `limit` where there is none; the signal's reason
   */
  async get(kid: string, signal: AbortSignal): Promise<{ readonly keys: readonly unknown[] }> {
    const isDue = performance.now() - this.#askedAt > ASK_AT_MOST_EVERY_MS;
    if (!this.#has(kid) && (isDue || this.#asking !== undefined)) {
      this.#asking ??= this.#fetch(signal).finally(() => (this.#asking = undefined));
      // Keys that are here stay good while the service does not answer.
      await (this.#keys === undefined ? this.#asking : this.#asking.catch(() => undefined));
    }
    if (this.#keys === undefined) throw new QuayctlError('unreachable', 'the torrent service gave no keys');
    return this.#keys;
  }

  #has(kid: string): boolean {
    return this.#keys?.keys.some((key) => (Object(key) as { kid?: unknown }).kid === kid) ?? false;
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    this.#askedAt = performance.now();
    const { answer, url } = await this.#ask(signal);
    const what = `the keys of the torrent service ${url.host}`;
    if (answer.statusCode !== 200) {
      await dumpBody(answer);
      throw new QuayctlError('protocol', `${url.host} answers ${answer.statusCode} for ${what}`);
    }
    const bytes = await readBody(answer, { maxBytes: MAX_KEY_SET_BYTES, url, what, signal });
    this.#keys = parseKeySet(bytes, what);
  }
}

/** @throws QuayctlError `protocol` */
function parseKeySet(bytes: Buffer, what: string): { readonly keys: readonly unknown[] } {
  try {
    const { keys } = Object(JSON.parse(bytes.toString('utf8'))) as { keys?: unknown };
    if (Array.isArray(keys)) return { keys };
  } catch {
    // Said below.
  }
  throw new QuayctlError('protocol', `${what} are not a JSON Web Key set`);
}
