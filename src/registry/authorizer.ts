import { isLoopback } from '../base/ip-address.ts';
import type { Http, HttpAnswer } from '../http/http.ts';
import type { Credential } from '../credentials/credential.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { SingleFlight } from '../base/single-flight.ts';
import { basicHeader, fetchToken, type Token } from './token.ts';

export interface AuthorizerOptions {
  /** As the user knows it, for messages: `quay.io`. */
  readonly registry: string;
  /** `repository:team/app:pull`, or undefined for the registry alone (login). */
  readonly scope: string | undefined;
  readonly credential: Credential | undefined;
  readonly http: Http;
  readonly insecure: boolean;
  readonly onWarning: (message: string) => void;
  /** Shown before anything asked for it, as rkt does: what can be shown without a token server. */
  readonly unasked?: boolean;
}

type Scheme =
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      readonly challenge: Challenge;
      /** A registry elsewhere has named the token server: it must not be on this machine. */
      readonly denyLocal: boolean;
    };

/** A token is not used in its last seconds: the request has to arrive yet. A tenth of its life where that is less. */
const EXPIRY_MARGIN_MS = 5_000;

/**
 * Answers a registry's challenges (distribution, docs/spec/auth/token.md): nothing is sent before the registry asked for
 * it; then what it asked for, renewed once when it says 401 again.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #tokens = new SingleFlight<Token>();
  /** The last one handed out. */
  #token: string | undefined;
  #scheme: Scheme | undefined;
  #skewMs: number | undefined;
  #warned = false;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** For a host that the registry leads to: the same scope, and no credential. */
  forStrangerAt(host: string): Authorizer {
    return new Authorizer({ ...this.#options, registry: host, credential: undefined, unasked: false });
  }

  get credential(): Credential | undefined {
    return this.#options.credential;
  }

  /** What the registry asked for so far; undefined while it asked for nothing. */
  get scheme(): 'basic' | 'bearer' | undefined {
    return this.#scheme?.kind;
  }

  /** By how much the token server's clock is ahead of ours, milliseconds, as far as it was asked and says. */
  get tokenServerSkewMs(): number | undefined {
    return this.#skewMs;
  }

  /** The value of Authorization for a request to `url`, if any. @throws what fetching a token throws */
  async header(url: URL, signal: AbortSignal): Promise<string | undefined> {
    if (this.#scheme?.kind === 'basic') return this.#basic(url);
    if (this.#scheme?.kind === 'bearer') return `Bearer ${await this.#bearer(this.#scheme, signal)}`;
    return this.#options.unasked === true ? this.#unasked(url) : undefined;
  }

  /**
   * The password in the form of Basic, for an API beside the registry's own that takes nothing else (Quay's). Only
   * where `url` is on the host that is shown the password anyway: the one that asked for Basic, or the token server.
   * @param base where the registry answers
   */
  passwordFor(url: URL, base: URL): string | undefined {
    if (this.#scheme === undefined || url.origin !== base.origin) return undefined;
    if (this.#scheme.kind === 'bearer') {
      const realm = URL.parse(this.#scheme.challenge.params.get('realm') ?? '');
      if (realm?.origin !== base.origin) return undefined;
    }
    return this.#basic(url);
  }

  /**
   * Reads the challenge of a 401. Only ever give it the registry's own: the credential goes where a challenge says.
   * @param url that answered
   * @param sent the Authorization that was refused
   * @returns whether asking again can help
   */
  handleChallenge(url: URL, answer: Pick<HttpAnswer, 'headers'>, sent: string | undefined): boolean {
    const { credential } = this.#options;
    const challenges = [answer.headers['www-authenticate'] ?? []].flat().flatMap(parseChallenges);
    const bearers = challenges.filter(({ scheme }) => scheme === 'bearer');
    // A broken one may stand before the one that is meant.
    const bearer = bearers.find(({ params }) => URL.canParse(params.get('realm') ?? '')) ?? bearers[0];
    if (bearer !== undefined) {
      this.#scheme = { kind: 'bearer', challenge: bearer, denyLocal: !this.#options.http.isLocal(url) };
      // Of several requests that were refused together, the first one renews the token for all.
      if (sent === `Bearer ${this.#token}`) this.#tokens.forget();
      return credential?.kind !== 'registry-token' || sent === undefined;
    }
    const basic = challenges.some(({ scheme }) => scheme === 'basic');
    if (!basic || credential?.kind !== 'basic') return false;
    this.#scheme = { kind: 'basic' };
    return sent === undefined;
  }

  #unasked(url: URL): string | undefined {
    const { credential } = this.#options;
    return credential?.kind === 'registry-token' ? `Bearer ${credential.token}` : this.#basic(url);
  }

  async #bearer(
    { challenge, denyLocal }: Scheme & { readonly kind: 'bearer' },
    signal: AbortSignal,
  ): Promise<string> {
    const { credential } = this.#options;
    if (credential?.kind === 'registry-token') return credential.token;
    const { value, skewMs } = await this.#tokens.get(
      (first) => fetchToken(challenge, { ...this.#options, denyLocal, warn: () => this.#warn() }, first),
      signal,
      ({ expiresAt, lifeMs }) => expiresAt - Math.min(EXPIRY_MARGIN_MS, lifeMs / 10) > Date.now(),
    );
    this.#token = value;
    this.#skewMs = skewMs;
    return value;
  }

  #basic(url: URL): string | undefined {
    const { credential } = this.#options;
    if (credential?.kind !== 'basic') return undefined;
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) this.#warn();
    return basicHeader(credential.username, credential.password);
  }

  #warn(): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#options.onWarning(`the password for ${this.#options.registry} goes over plain HTTP`);
  }
}
