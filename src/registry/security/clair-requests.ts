import { QuayctlError } from '../../base/errors.ts';
import { retry } from '../../base/retry.ts';
import { dumpBody, headerOf, readBody, type Http, type HttpAnswer } from '../../http/http.ts';
import { isPassing } from '../../http/network-error.ts';
import { foreignText } from '../../security/foreign-text.ts';
import { MAX_REPORT_BYTES } from '../../security/report.ts';
import { retryAfter } from '../retry-after.ts';

export interface ClairOptions {
  /** Where Clair answers: `http://clair.example.com:6060`, with a path where a proxy gives it one. */
  readonly url: URL;
  /** The pre-shared key, decoded: `auth.psk.key` of Clair's configuration. Without one nothing is signed. */
  readonly key?: Uint8Array | undefined;
  /** One of `auth.psk.iss` of Clair's configuration. */
  readonly issuer: string;
  readonly http: Http;
}

export interface ClairRequest {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** An answer of Clair's that is neither 401, 403, 429 nor 5xx. Its body must be read or dumped. */
export interface ClairAnswer {
  readonly answer: HttpAnswer;
  readonly url: URL;
}

/** Clair answers the request for an index when it has fetched and read all layers. */
const LONGEST_ANSWER_MS = 10 * 60_000;
const ATTEMPTS = 4;
const FIRST_DELAY_MS = 300;
const MAX_DELAY_MS = 5000;
const LONGEST_RETRY_AFTER_MS = 30_000;
const MAX_ERROR_BYTES = 64 * 1024;
/** As long as those that Quay makes; Clair allows for 15 s between the clocks. Seconds. */
const TOKEN_LIFE = 300;

/** Requests to one Clair: paths, signatures, patience. Redirects are not followed: it has none. */
export class ClairRequests {
  readonly #options: ClairOptions;

  constructor(options: ClairOptions) {
    this.#options = options;
  }

  get host(): string {
    return this.#options.url.host;
  }

  /**
   * @param path below Clair's URL, without a slash in front
   * @throws QuayctlError `unreachable`, `rate-limited`, `unauthorized`; the signal's reason
   */
  async ask(path: string, request: ClairRequest): Promise<ClairAnswer> {
    const { url: base } = this.#options;
    const url = new URL(`${base.pathname.replace(/\/+$/, '')}/${path}`, base);
    const answer = await retry(() => this.#send(url, request), {
      attempts: ATTEMPTS,
      firstDelayMs: FIRST_DELAY_MS,
      maxDelayMs: MAX_DELAY_MS,
      verdict: (error) => (error instanceof Later ? error.waitMs : isPassing(error) ? undefined : 'stop'),
      signal: request.signal,
    }).catch((error: unknown) => {
      throw error instanceof Later ? error.failure : error;
    });
    if (answer.statusCode !== 401 && answer.statusCode !== 403) return { answer, url };
    await dumpBody(answer);
    throw this.#refused(answer.statusCode);
  }

  /** The whole body. @throws QuayctlError `limit`, `unreachable` */
  body({ answer, url }: ClairAnswer, signal: AbortSignal): Promise<Buffer> {
    return readBody(answer, { maxBytes: MAX_REPORT_BYTES, url, what: 'its report', signal });
  }

  /** The reason in an answer that is no success, `{code, message}`; may be shown. */
  async reason({ answer, url }: ClairAnswer, signal: AbortSignal): Promise<string> {
    const bound = { maxBytes: MAX_ERROR_BYTES, url, what: 'its error', signal };
    const bytes = await readBody(answer, bound).catch(() => Buffer.alloc(0));
    signal.throwIfAborted();
    const text = bytes.toString('utf8');
    return foreignText(messageIn(text) ?? text, 200);
  }

  /** For a status that the OpenAPI document does not have at this place. */
  async unexpected({ answer, url }: ClairAnswer): Promise<QuayctlError> {
    await dumpBody(answer);
    const message = `Clair at ${this.host} answers ${answer.statusCode} for ${url.pathname}`;
    return new QuayctlError('protocol', message, { hint: 'is it a Clair of version 4, and its root URL?' });
  }

  /** A 429 or 5xx is waited out: Clair bounds how many images it indexes at a time. */
  async #send(url: URL, { method = 'GET', headers, body, signal }: ClairRequest): Promise<HttpAnswer> {
    const request = {
      method,
      headers: { accept: 'application/json', ...headers, ...(await this.#authorization()) },
      headersTimeoutMs: LONGEST_ANSWER_MS,
      signal,
    };
    const sent = await this.#options.http.request(url, body === undefined ? request : { ...request, body });
    if (sent.statusCode !== 429 && sent.statusCode < 500) return sent;
    const wait = retryAfter(headerOf(sent, 'retry-after'), Date.now());
    throw new Later(this.host, sent.statusCode, await this.reason({ answer: sent, url }, signal), wait);
  }

  /** `Authorization`, as Clair's `auth.psk` checks it: HS256, issuer and times. */
  async #authorization(): Promise<Readonly<Record<string, string>>> {
    const { key, issuer } = this.#options;
    if (key === undefined) return {};
    const { SignJWT } = await import('jose');
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setIssuer(issuer)
      .setIssuedAt(now)
      .setExpirationTime(now + TOKEN_LIFE)
      .sign(key);
    return { authorization: `Bearer ${token}` };
  }

  #refused(status: number): QuayctlError {
    const hint =
      this.#options.key === undefined
        ? 'it wants signed requests: --clair-key FILE with the key of its auth.psk'
        : '--clair-key, --clair-issuer and the clock must agree with auth.psk in its configuration';
    return new QuayctlError('unauthorized', `Clair at ${this.host} answers ${status}`, { hint });
  }
}

function messageIn(text: string): unknown {
  try {
    return (Object(JSON.parse(text)) as { message?: unknown }).message;
  } catch {
    return undefined;
  }
}

/** An answer that may be another one later. */
class Later extends Error {
  readonly failure: QuayctlError;
  readonly waitMs: number | 'stop' | undefined;

  constructor(host: string, status: number, message: string, retryAfterMs: number | undefined) {
    super('later');
    const reason = message === '' ? '' : `: ${message}`;
    const code = status === 429 ? 'rate-limited' : 'unreachable';
    this.failure = new QuayctlError(code, `Clair at ${host} answers ${status} again and again${reason}`);
    this.waitMs = (retryAfterMs ?? 0) > LONGEST_RETRY_AFTER_MS ? 'stop' : retryAfterMs;
  }
}
