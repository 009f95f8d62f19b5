import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { QuayctlError } from '../../base/errors.ts';
import { list, object, type JsonObject } from '../../image/json.ts';

/** One RSA key pair of the secret file. */
export interface SigningKey {
  readonly kid: string;
  /** Seconds since 1970. */
  readonly created: number;
  /** With its private part. */
  readonly jwk: JWK;
}

/** NIST SP 800-57: good beyond 2030; a tracker verifies one in some 30 µs. */
const RSA_BITS = 2048;
/** Signing keys in the secret file: enough for a month of daily rotation. */
const MAX_KEYS = 64;
/** A new key is in the key set for this long before it signs, since trackers fetch the set on an interval. */
const NOTICE_SECONDS = 3600;
/** Old keys are kept this long by `rotate-key`, which does not know how long the tokens of running services live. */
const KEEP_SECONDS = 30 * 86_400;

/** @param nowMs milliseconds since 1970 */
export async function makeSigningKey(nowMs: number): Promise<SigningKey> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: RSA_BITS });
  const jwk = privateKey.export({ format: 'jwk' }) as JWK;
  return { kid: await calculateJwkThumbprint(jwk), created: Math.floor(nowMs / 1000), jwk };
}

/** The key that signs: the last one that has been in the set for long enough; the very first at once. */
export function signerOf(keys: readonly SigningKey[], nowMs: number): SigningKey | undefined {
  return keys.findLast((key, index) => index === 0 || signsFrom(key) * 1000 <= nowMs);
}

/** The keys whose last token was alive within `seconds` before now, and those that will sign. */
export function aliveKeys(
  keys: readonly SigningKey[],
  seconds: number,
  nowMs: number,
): readonly SigningKey[] {
  return keys.filter((_, index) => {
    const successor = keys[index + 1];
    return successor === undefined || (signsFrom(successor) + seconds) * 1000 > nowMs;
  });
}

/** With one more key, and without those that are dead for everybody. */
export function rotated(keys: readonly SigningKey[], added: SigningKey): readonly SigningKey[] {
  const all = [...keys, added].sort((a, b) => a.created - b.created);
  return aliveKeys(all, KEEP_SECONDS, added.created * 1000).slice(-MAX_KEYS);
}

/** Only what others need to verify with (RFC 7517). */
export function publicJwk({ kid, jwk: { kty, n, e } }: SigningKey): JsonObject {
  return { kty, n, e, kid, alg: 'RS256', use: 'sig' };
}

/** @throws QuayctlError `protocol`, `limit` */
export function parseSigningKeys(value: unknown): readonly SigningKey[] {
  if (value === undefined) return [];
  return list(value, 'keys', MAX_KEYS)
    .map(parseKey)
    .sort((a, b) => a.created - b.created);
}

function parseKey(value: unknown): SigningKey {
  const { kid, created, jwk } = object(value, 'key');
  const { kty, d } = object(jwk, 'key');
  if (typeof kid !== 'string' || typeof created !== 'number' || kty !== 'RSA' || typeof d !== 'string') {
    throw new QuayctlError('protocol', 'a signing key is no RSA key in the form of RFC 7517');
  }
  return { kid, created, jwk: jwk as JWK };
}

function signsFrom({ created }: SigningKey): number {
  return created + NOTICE_SECONDS;
}
