import { QuayctlError } from '../base/errors.ts';
import { headerOf, Http, isLoopback, type HttpAnswer } from '../base/http.ts';
import type { Credential } from '../credentials/credential.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { fetchToken, type Token } from './token.ts';

export interface AuthorizerOptions {
  /** As the user knows it, for messages: `quay.io`. */
  readonly registry: string;
  /** `repository:team/app:pull`, or undefined for the registry alone (login). */
  readonly scope: string | undefined;
  readonly credential: Credential | undefined;
  readonly http: Http;
  readonly insecure: boolean;
  readonly onWarning: (message: string) => void;
}

type Scheme = { readonly kind: 'basic' } | { readonly kind: 'bearer'; readonly challenge: Challenge };

/** A token is not used in its last seconds: the request has to arrive yet. */
const EXPIRY_MARGIN_MS = 5_000;

/**
 * Answers a registry's challenges (distribution's token specification): nothing is sent before the registry asked,
 * then what it asked for, renewed once when it says 401 again.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  #scheme: Scheme | undefined;
  #token: Promise<Token> | undefined;
  #warned = false;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  get credential(): Credential | undefined {
    return this.#options.credential;
  }

  /** What the registry asked for so far; undefined while it asked for nothing. */
  get scheme(): 'basic' | 'bearer' | undefined {
    return this.#scheme?.kind;
  }

  /** The value of Authorization for a request to `url`, if any. @throws what fetching a token throws */
  async header(url: URL, signal: AbortSignal): Promise<string | undefined> {
    if (this.#scheme?.kind === 'basic') return this.#basic(url);
    if (this.#scheme?.kind === 'bearer') return `Bearer ${(await this.#bearer(this.#scheme.challenge, signal)).value}`;
    return undefined;
  }

  /**
   * Reads the challenge of a 401. @returns whether asking again can help
   * @param sent the Authorization that was refused
   */
  learn(answer: HttpAnswer, sent: string | undefined): boolean {
    const header = headerOf(answer, 'www-authenticate');
    const challenges = header === undefined ? [] : parseChallenges(header);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      this.#scheme = { kind: 'bearer', challenge: bearer };
      this.#token = undefined;
      return true;
    }
    const basic = challenges.some(({ scheme }) => scheme === 'basic');
    if (!basic || this.#options.credential?.kind !== 'basic') return false;
    this.#scheme = { kind: 'basic' };
    return sent === undefined;
  }

  async #bearer(challenge: Challenge, signal: AbortSignal): Promise<Token> {
    const { credential } = this.#options;
    if (credential?.kind === 'registry-token') return { value: credential.token, expiresAt: Infinity };
    const kept = await this.#token?.catch(() => undefined);
    if (kept !== undefined && kept.expiresAt - EXPIRY_MARGIN_MS > Date.now()) return kept;
    // One request for all who wait; the first one's signal may end it, the others then ask anew.
    this.#token = fetchToken(challenge, { ...this.#options, warn: () => this.#warn() }, signal);
    return this.#token;
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

/** RFC 7617. */
export function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** 401 and 403, with what to do. */
export function unauthorized(registry: string, what: string, hasCredential: boolean, cause?: unknown): QuayctlError {
  return new QuayctlError('unauthorized', `${registry}: not authorised for ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: hasCredential
      ? `the credential for ${registry} is wrong, expired, or has no right to it; \`quayctl login ${registry}\` replaces it`
      : `log in with \`quayctl login ${registry}\`; a name that does not exist is answered like this, too`,
  });
}
