import { createHash } from 'node:crypto';
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import type { JsonObject } from '../../image/json.ts';
import { parseInfoHash, type InfoHash } from '../../metainfo/info-hash.ts';
import type { Secret } from '../torrents/secret.ts';
import type { KeyRing, UsableKey } from './key-ring.ts';
import { subjectOf } from './subject.ts';

const ALGORITHM = 'RS256';
/** Replicas' clocks differ a little. Seconds. */
const CLOCK_TOLERANCE_SECONDS = 5;
/** For this long after a token has expired, a node that leaves may still say so with it. */
const STOPPED_GRACE_SECONDS = 3600;
/** Ours have some 700 characters. */
const MAX_TOKEN = 4096;
/** Verified tokens that are remembered: a peer shows the same one every half minute. */
const MAX_REMEMBERED = 20_000;

/** Chihaya's texts (middleware/jwt): clients and operators know them. */
export type TokenRefusal = 'unapproved request: missing jwt' | 'unapproved request: invalid jwt';

export interface AnnounceTokenOptions {
  readonly keys: KeyRing;
  readonly secret: Secret;
  /** The service's public URL. */
  readonly issuer: string;
  /** Tracker URL; what stands behind its `?` is kept in announce URLs and is no part of the audience. */
  readonly announce: string;
  readonly ttlSeconds: number;
}

/** The holder of the token. */
export interface TokenCaller {
  readonly authorization: string | undefined;
  /** The thumbprint of the key by which the node proves to others that the token is its own (RFC 7638, SHA-256). */
  readonly keyThumbprint?: string | undefined;
}

/** What a good token says of its holder. */
export interface TokenHolder {
  /** `cnf.jkt`, where the token is bound to a key. */
  readonly keyThumbprint: string | undefined;
  /** `sub`: the same for all tokens of one caller; undefined for strangers. */
  readonly subject: string | undefined;
}

interface Verified extends TokenHolder {
  readonly infoHash: InfoHash;
  /** Seconds since 1970. */
  readonly exp: number;
}

/** JSON Web Tokens that let their holder announce to one swarm (docs/protocol.md, "Announce tokens"; RFC 7519). */
export class AnnounceTokens {
  readonly #options: AnnounceTokenOptions;
  readonly #audience: string;
  readonly #verified = new Map<string, Verified>();
  #generation = -1;

  constructor(options: AnnounceTokenOptions) {
    this.#options = options;
    [this.#audience = ''] = options.announce.split('?', 1);
  }

  /** The tracker URL of a caller's torrent, with a token in it: secret. */
  async announceUrl(infoHash: InfoHash, { authorization, keyThumbprint }: TokenCaller): Promise<string> {
    const { keys, secret, issuer, announce, ttlSeconds } = this.#options;
    const { kid, key } = await keys.signer();
    const now = Math.floor(Date.now() / 1000);
    // RFC 7800 section 3.1, in the form of RFC 9449 section 6.1: of use only to who has the key.
    const confirmation = keyThumbprint === undefined ? {} : { cnf: { jkt: keyThumbprint } };
    const token = await new SignJWT({ infohash: infoHash, ...confirmation })
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(this.#audience)
      .setSubject(subjectOf(secret, authorization))
      .setIssuedAt(now)
      .setExpirationTime(now + ttlSeconds)
      .sign(key);
    return `${announce}${announce.includes('?') ? '&' : '?'}jwt=${token}`;
  }

  /** The holder of a token that is good for announcing or scraping `infoHash`, or why it is refused. */
  async check(
    token: unknown,
    infoHash: string,
    { stopped }: { readonly stopped: boolean },
  ): Promise<TokenHolder | TokenRefusal> {
    if (token === undefined || token === '') return 'unapproved request: missing jwt';
    const verified =
      typeof token === 'string' && token.length <= MAX_TOKEN ? await this.#verify(token) : undefined;
    const grace = stopped ? STOPPED_GRACE_SECONDS : CLOCK_TOLERANCE_SECONDS;
    const isAlive = verified !== undefined && (verified.exp + grace) * 1000 > Date.now();
    return isAlive && verified.infoHash === infoHash ? verified : 'unapproved request: invalid jwt';
  }

  /** Who holds this token, and for which swarm; undefined where it is none of ours, or no longer good. */
  async holder(token: string): Promise<(TokenHolder & { readonly infoHash: InfoHash }) | undefined> {
    const verified = token.length <= MAX_TOKEN ? await this.#verify(token) : undefined;
    const isAlive = verified !== undefined && (verified.exp + CLOCK_TOLERANCE_SECONDS) * 1000 > Date.now();
    return isAlive ? verified : undefined;
  }

  /** The keys with which others verify: those of which a token may be alive, and those that will sign. */
  jwks(): Promise<JsonObject> {
    return this.#options.keys.jwks(this.#options.ttlSeconds);
  }

  async #verify(token: string): Promise<Verified | undefined> {
    const { generation } = this.#options.keys;
    if (generation !== this.#generation) this.#verified.clear();
    this.#generation = generation;
    const name = createHash('sha256').update(token).digest('base64');
    const known = this.#verified.get(name);
    if (known !== undefined) return known;
    const verified = await this.#read(token);
    if (verified === undefined) return undefined;
    const [oldest] = this.#verified.keys();
    if (this.#verified.size >= MAX_REMEMBERED && oldest !== undefined) this.#verified.delete(oldest);
    this.#verified.set(name, verified);
    return verified;
  }

  /** Everything but its age: that is asked anew each time. */
  async #read(token: string): Promise<Verified | undefined> {
    const { issuer, keys, ttlSeconds } = this.#options;
    try {
      const { kid } = decodeProtectedHeader(token);
      const key = await keys.verifier(kid ?? '', ttlSeconds + STOPPED_GRACE_SECONDS);
      if (key === undefined) return undefined;
      const { payload } = await jwtVerify<{ infohash?: unknown; cnf?: unknown }>(
        token,
        key satisfies UsableKey,
        {
          algorithms: [ALGORITHM],
          issuer,
          audience: this.#audience,
          requiredClaims: ['exp', 'iat', 'sub', 'infohash'],
          clockTolerance: STOPPED_GRACE_SECONDS,
        },
      );
      const { infohash, exp, sub, cnf } = payload;
      if (typeof infohash !== 'string' || exp === undefined) return undefined;
      const subject = sub === subjectOf(this.#options.secret, undefined) ? undefined : sub;
      const jkt: unknown = (cnf as { jkt?: unknown } | undefined)?.jkt;
      const keyThumbprint = typeof jkt === 'string' ? jkt : undefined;
      return { infoHash: parseInfoHash(infohash), exp, subject, keyThumbprint };
    } catch {
      // The peer is told only that its token is not valid, whatever is wrong with it.
      return undefined;
    }
  }
}
