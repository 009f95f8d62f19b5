import { QuayctlError } from '../base/errors.ts';
import { dumpBody, isLoopback, readBody, type Http } from '../base/http.ts';
import type { Credential } from '../credentials/credential.ts';
import { basicHeader, unauthorized } from './authorizer.ts';
import type { Challenge } from './challenge.ts';
import { withPatience } from './patience.ts';

export interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface TokenRequest {
  readonly registry: string;
  readonly scope: string | undefined;
  readonly credential: Credential | undefined;
  readonly http: Http;
  readonly insecure: boolean;
  /** A password is about to go over plain HTTP to another host. */
  readonly warn: () => void;
}

/** Tokens are a few kilobytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** distribution, token specification: "for compatibility ... defaults to 60 seconds". */
const DEFAULT_LIFE_SECONDS = 60;
const CLIENT_ID = 'quayctl';

/**
 * Fetches a Bearer token (distribution, docs/spec/auth/token.md, and oauth.md for identity tokens).
 * @throws QuayctlError `unauthorized`, `unreachable`, `protocol`, `limit`
 */
export async function fetchToken(challenge: Challenge, request: TokenRequest, signal: AbortSignal): Promise<Token> {
  const { registry, http } = request;
  const realm = realmOf(challenge, request);
  const answer = await withPatience(realm, signal, () =>
    request.credential?.kind === 'identity-token'
      ? http.request(realm, oauthRequest(challenge, request, request.credential.token, signal))
      : http.request(tokenUrl(realm, challenge, request), {
          headers: { ...passwordHeader(realm, request) },
          signal,
        }),
  );
  if (answer.statusCode === 401 || answer.statusCode === 403) {
    await dumpBody(answer);
    throw unauthorized(registry, request.scope ?? 'login', request.credential !== undefined);
  }
  if (answer.statusCode !== 200) {
    await dumpBody(answer);
    throw new QuayctlError('protocol', `the token server ${realm.host} of ${registry} answers ${answer.statusCode}`);
  }
  return parseToken(await readBody(answer, MAX_ANSWER_BYTES, realm, 'its token answer'), realm);
}

/** A registry must not be able to send our password into the clear by naming a realm there. */
function realmOf(challenge: Challenge, { registry, credential, insecure }: TokenRequest): URL {
  const text = challenge.params.get('realm') ?? '';
  const realm = URL.parse(text);
  if (realm === null || !/^https?:$/.test(realm.protocol) || realm.username !== '') {
    throw new QuayctlError('protocol', `${registry} names no usable token server`);
  }
  const clear = realm.protocol === 'http:' && !isLoopback(realm.hostname);
  if (clear && credential !== undefined && !insecure) {
    throw new QuayctlError('unauthorized', `${registry} wants the password sent to ${realm.host} over plain HTTP`, {
      hint: '--insecure allows that',
    });
  }
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

function passwordHeader(realm: URL, { credential, warn }: TokenRequest): Record<string, string> {
  if (credential?.kind !== 'basic') return {};
  if (realm.protocol === 'http:' && !isLoopback(realm.hostname)) warn();
  return { authorization: basicHeader(credential.username, credential.password) };
}

function oauthRequest(challenge: Challenge, { scope }: TokenRequest, token: string, signal: AbortSignal) {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: token,
    client_id: CLIENT_ID,
    service: challenge.params.get('service') ?? '',
  });
  const wanted = scope ?? challenge.params.get('scope');
  if (wanted !== undefined) form.set('scope', wanted);
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST' as const, headers, body: form.toString(), signal };
}

function parseToken(bytes: Buffer, realm: URL): Token {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    // Not as the cause: the parser's message quotes the text, which may hold the token.
    json = undefined;
  }
  const { token, access_token: accessToken, expires_in: life } = Object(json) as Record<string, unknown>;
  const value = typeof token === 'string' && token !== '' ? token : accessToken;
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new QuayctlError('protocol', `the token server ${realm.host} sent no token`);
  }
  const seconds = typeof life === 'number' && life > 0 ? life : DEFAULT_LIFE_SECONDS;
  return { value, expiresAt: Date.now() + seconds * 1000 };
}
