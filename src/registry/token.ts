import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { dumpBody, readBody, type Http, type HttpRequest } from '../http/http.ts';
import { followRedirects, type Hop } from '../http/redirect.ts';
import type { Credential } from '../credentials/credential.ts';
import type { Challenge } from './challenge.ts';
import { skewOf } from './clocks.ts';
import { readRefusal, unauthorized } from './failures.ts';
import { withPatience } from './retry-after.ts';

export interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly lifeMs: number;
  /** By how much the token server's clock is ahead of ours, milliseconds. */
  readonly skewMs?: number | undefined;
}

export interface TokenRequest {
  readonly registry: string;
  readonly scope: string | undefined;
  readonly credential: Credential | undefined;
  readonly http: Http;
  readonly insecure: boolean;
  /** The registry is elsewhere, so the token server must not be on this machine. */
  readonly denyLocal: boolean;
  /** A password is about to go over plain HTTP to another host. */
  readonly warn: () => void;
}

/** Tokens are a few kilobytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** The length of a token, bytes. Servers do not accept longer ones in a header. */
const MAX_TOKEN = 32 * 1024;
/** distribution, token specification: "for compatibility ... defaults to 60 seconds". */
const DEFAULT_LIFE_SECONDS = 60;
/** A token is used for this long at most, whatever it says. Most are valid for minutes, some for hours. */
const LONGEST_LIFE_SECONDS = 86_400;
const CLIENT_ID = 'quayctl';
/** A token server that moved names one other place, perhaps two. */
const MAX_REDIRECTS = 4;

/**
 * Fetches a Bearer token (distribution, docs/spec/auth/token.md, and oauth.md for identity tokens).
 * @throws QuayctlError `unauthorized`, `unreachable`, `rate-limited`, `protocol`, `limit`
 */
export async function fetchToken(
  challenge: Challenge,
  request: TokenRequest,
  signal: AbortSignal,
): Promise<Token> {
  const { registry, http, credential, scope } = request;
  const realm = realmOf(challenge, request);
  const isOauth = credential?.kind === 'identity-token';
  const url = isOauth ? realm : tokenUrl(realm, challenge, request);
  const details = isOauth ? oauthRequest(challenge, request, credential.token) : passwordRequest(request);
  const { answer } = await followRedirects(http, url, { ...request, limit: MAX_REDIRECTS }, (hop) => {
    const shown = { ...mayShow(realm, hop, details, request), registry, denyLocal: hop.denyLocal, signal };
    return withPatience(hop.url, signal, () => http.request(hop.url, shown), http.attempts);
  });
  if (isRefused(answer.statusCode, isOauth)) {
    const refusal = await readRefusal(answer, realm, signal);
    throw unauthorized(registry, scope ?? 'login', credential, refusal);
  }
  if (answer.statusCode !== 200) {
    await dumpBody(answer);
    throw new QuayctlError(
      'protocol',
      `the token server ${realm.host} of ${registry} answers ${answer.statusCode}`,
    );
  }
  const bound = { maxBytes: MAX_ANSWER_BYTES, url: realm, what: 'its token answer', signal };
  return { ...parseToken(await readBody(answer, bound), realm), skewMs: skewOf(answer) };
}

/**
 * What a redirect of the token server is shown: the password where the host is the same and the connection not less
 * safe, nothing where it is another. A refresh token is not handed on at all: it would not be a GET.
 * @throws QuayctlError `protocol`
 */
function mayShow(
  realm: URL,
  { url, count }: Hop,
  details: Omit<HttpRequest, 'signal'>,
  { registry }: TokenRequest,
): Omit<HttpRequest, 'signal'> {
  if (count === 0) return details;
  const isSame = url.origin === realm.origin;
  const isUpgrade = url.host === realm.host && url.protocol === 'https:';
  if (isSame || isUpgrade) return details;
  if (details.method !== 'POST') return {};
  throw new QuayctlError(
    'protocol',
    `the token server ${realm.host} of ${registry} wants the login sent to another host, ${url.host}`,
  );
}

/** RFC 6749, 5.2: an expired refresh token is a 400. */
function isRefused(status: number, isOauth: boolean): boolean {
  return status === 401 || status === 403 || (isOauth && status === 400);
}

/** A registry must not be able to send our password into the clear by naming a realm there. */
function realmOf(challenge: Challenge, { registry, credential, insecure, warn }: TokenRequest): URL {
  const text = challenge.params.get('realm') ?? '';
  const realm = URL.parse(text);
  if (realm === null || !/^https?:$/.test(realm.protocol) || realm.username !== '') {
    throw new QuayctlError('protocol', `${registry} names no usable token server`);
  }
  const clear = realm.protocol === 'http:' && !isLoopback(realm.hostname);
  if (clear && credential !== undefined && !insecure) {
    throw new QuayctlError(
      'unauthorized',
      `${registry} wants the password sent to ${realm.host} over plain HTTP`,
      {
        hint: '--insecure allows that',
      },
    );
  }
  if (clear && credential !== undefined) warn();
  return realm;
}

function tokenUrl(realm: URL, challenge: Challenge, { scope, credential }: TokenRequest): URL {
  const url = new URL(realm);
  const service = challenge.params.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  const wanted = scope ?? challenge.params.get('scope');
  if (wanted !== undefined) url.searchParams.set('scope', wanted);
  if (credential?.kind === 'basic') url.searchParams.set('account', credential.username);
  return url;
}

function passwordRequest({ credential }: TokenRequest): Omit<HttpRequest, 'signal'> {
  if (credential?.kind !== 'basic') return {};
  return { headers: { authorization: basicHeader(credential.username, credential.password) } };
}

function oauthRequest(
  challenge: Challenge,
  { scope }: TokenRequest,
  token: string,
): Omit<HttpRequest, 'signal'> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: token,
    client_id: CLIENT_ID,
    service: challenge.params.get('service') ?? '',
  });
  const wanted = scope ?? challenge.params.get('scope');
  if (wanted !== undefined) form.set('scope', wanted);
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', headers, body: form.toString() };
}

/** RFC 7617, in UTF-8. */
export function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** A token server's answer. @throws QuayctlError `protocol` */
export function parseToken(bytes: Buffer, realm: URL): Token {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    // Not as the cause: the parser's message quotes the text, which may hold the token.
    json = undefined;
  }
  const { token, access_token: accessToken, expires_in: life } = Object(json) as Record<string, unknown>;
  const value = typeof token === 'string' && token !== '' ? token : accessToken;
  if (typeof value !== 'string' || value.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(value)) {
    throw new QuayctlError('protocol', `the token server ${realm.host} sent no token`);
  }
  const told = typeof life === 'number' && life > 0 ? life : DEFAULT_LIFE_SECONDS;
  const seconds = Math.min(told, LONGEST_LIFE_SECONDS);
  return { value, expiresAt: Date.now() + seconds * 1000, lifeMs: seconds * 1000 };
}
