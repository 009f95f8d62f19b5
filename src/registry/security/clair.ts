import { QuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import { dumpBody, headerOf } from '../../http/http.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { parseClairReport, parseIndexState, type IndexState } from '../../security/clair-report.ts';
import type { SecurityReport } from '../../security/report.ts';
import { ClairRequests, type ClairOptions } from './clair-requests.ts';

/** A layer, and how Clair may fetch it. */
export interface ClairLayer {
  readonly digest: Digest;
  /** May be signed: secret. */
  readonly url: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
}

export interface ClairQuestion {
  /** Of the manifest. */
  readonly digest: Digest;
  /** Asked for when Clair may have to index the image. @throws QuayctlError where Clair cannot be let at them */
  readonly layers: (signal: AbortSignal) => Promise<readonly ClairLayer[]>;
  /** How far Clair is, in its own word. */
  readonly onStep?: (step: string) => void;
}

/** Between two questions about what is being made. */
const FIRST_POLL_MS = 200;
const LONGEST_POLL_MS = 3000;
/** The matcher may hear of a new index a moment later than we do. */
const LATE_ANSWERS = 5;
/** Images of which it is remembered that Clair has indexed them. */
const MAX_INDEXED = 10_000;

/** A client of Clair v4's HTTP API (its OpenAPI document: indexer and matcher). */
export class Clair {
  readonly #requests: ClairRequests;
  /** ETag of `index_state`: another one after the indexers of Clair were changed. */
  #state: string | undefined;
  /** By manifest, the state under which Clair has indexed it. */
  readonly #indexed = new Map<Digest, string>();

  constructor(options: ClairOptions) {
    this.#requests = new ClairRequests(options);
  }

  get host(): string {
    return this.#requests.host;
  }

  /**
   * The report of an image. What Clair has not indexed yet, or has indexed before its indexers were changed, it is
   * given to index; until then it is waited for.
   * @throws QuayctlError `unreachable`, `unauthorized`, `rate-limited`, `protocol`, `limit`; `no-report` where Clair
   *   cannot index the image; what `layers` throws; the signal's reason
   */
  async report(question: ClairQuestion, signal: AbortSignal): Promise<SecurityReport> {
    const { digest } = question;
    const state = await this.#indexState(signal);
    if (this.#indexed.get(digest) !== state) {
      const layers = await question.layers(signal).catch((error: unknown) => error as Error);
      signal.throwIfAborted();
      if (layers instanceof Error) {
        // Somebody else may have had it indexed, which is enough.
        const known = await this.#vulnerabilityReport(digest, signal);
        if (typeof known === 'string') throw layers;
        return known;
      }
      await this.#index(question, layers, signal);
      this.#remember(digest, state);
    }
    return this.#match(question, signal);
  }

  async #indexState(signal: AbortSignal): Promise<string> {
    const headers = this.#state === undefined ? {} : { 'if-none-match': this.#state };
    const found = await this.#requests.ask('indexer/api/v1/index_state', { headers, signal });
    const { answer } = found;
    if (answer.statusCode !== 200 && answer.statusCode !== 304) throw await this.#requests.unexpected(found);
    await dumpBody(answer);
    return (this.#state = headerOf(answer, 'etag') ?? this.#state ?? '');
  }

  /** Clair does nothing for what it has indexed with the indexers that it has now, and answers at once. */
  async #index(
    { digest, onStep }: ClairQuestion,
    layers: readonly ClairLayer[],
    signal: AbortSignal,
  ): Promise<void> {
    let index = await this.#startIndex(digest, layers, signal);
    for (let poll = FIRST_POLL_MS; index?.state !== 'finished'; poll = nextPoll(poll)) {
      if (index?.state === 'failed') {
        const reason = index.error === '' ? '' : `: ${index.error}`;
        throw new QuayctlError('no-report', `Clair at ${this.host} could not index the image${reason}`);
      }
      if (index !== undefined) onStep?.(index.step);
      await delay(poll, signal);
      index = await this.#indexReport(digest, signal);
    }
  }

  async #startIndex(
    digest: Digest,
    layers: readonly ClairLayer[],
    signal: AbortSignal,
  ): Promise<IndexState | undefined> {
    const places = layers.map(({ digest: hash, url: uri, headers }) => ({ hash, uri, headers }));
    const found = await this.#requests.ask('indexer/api/v1/index_report', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ hash: digest, layers: places }),
      signal,
    });
    const { statusCode: status } = found.answer;
    if (status === 200 || status === 201) return this.#indexStateIn(found, digest, signal);
    if (status === 400) {
      const reason = await this.#requests.reason(found, signal);
      throw new QuayctlError('no-report', `Clair at ${this.host} cannot index the image: ${reason}`);
    }
    if (status !== 202) throw await this.#requests.unexpected(found);
    await dumpBody(found.answer);
    return undefined;
  }

  /** Undefined where there is none yet. */
  async #indexReport(digest: Digest, signal: AbortSignal): Promise<IndexState | undefined> {
    // Without If-None-Match, to which Clair answers 304 for images, too, that it has never seen.
    const found = await this.#requests.ask(`indexer/api/v1/index_report/${digest}`, { signal });
    const { statusCode: status } = found.answer;
    if (status === 200) return this.#indexStateIn(found, digest, signal);
    if (status !== 404 && status !== 202) throw await this.#requests.unexpected(found);
    await dumpBody(found.answer);
    return undefined;
  }

  async #indexStateIn(
    found: Parameters<ClairRequests['body']>[0],
    digest: Digest,
    signal: AbortSignal,
  ): Promise<IndexState> {
    return parseIndexState(await this.#requests.body(found, signal), digest);
  }

  async #match({ digest, onStep }: ClairQuestion, signal: AbortSignal): Promise<SecurityReport> {
    let missed = 0;
    for (let poll = FIRST_POLL_MS; ; poll = nextPoll(poll)) {
      const found = await this.#vulnerabilityReport(digest, signal);
      if (typeof found !== 'string') return found;
      if (found === 'absent' && ++missed === LATE_ANSWERS) {
        this.#indexed.delete(digest);
        const message = `Clair at ${this.host} has indexed ${shortDigest(digest)}, but has no report of it`;
        throw new QuayctlError('no-report', message);
      }
      onStep?.(found === 'absent' ? 'Match' : 'LoadingVulnerabilities');
      await delay(poll, signal);
    }
  }

  /** `loading`: Clair has not read its databases of vulnerabilities yet. */
  async #vulnerabilityReport(
    digest: Digest,
    signal: AbortSignal,
  ): Promise<SecurityReport | 'absent' | 'loading'> {
    const found = await this.#requests.ask(`matcher/api/v1/vulnerability_report/${digest}`, { signal });
    const { statusCode: status } = found.answer;
    if (status === 200 || status === 201) {
      const bytes = await this.#requests.body(found, signal);
      return parseClairReport(bytes, digest, { kind: 'clair', host: this.host });
    }
    if (status !== 404 && status !== 202) throw await this.#requests.unexpected(found);
    await dumpBody(found.answer);
    return status === 404 ? 'absent' : 'loading';
  }

  #remember(digest: Digest, state: string): void {
    const [oldest] = this.#indexed.keys();
    if (this.#indexed.size >= MAX_INDEXED && oldest !== undefined) this.#indexed.delete(oldest);
    this.#indexed.set(digest, state);
  }
}

function nextPoll(poll: number): number {
  return Math.min(LONGEST_POLL_MS, poll * 1.5);
}
