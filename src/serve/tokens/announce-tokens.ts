import { createHash } from 'node:crypto';
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import type { RequestContext } from '../../http-server/request-context.ts';
import type { JsonObject } from '../../image/json.ts';
import { parseInfoHash, type InfoHash } from '../../metainfo/info-hash.ts';
import type { Secret } from '../torrents/secret.ts';
import type { KeyRing, UsableKey } from './key-ring.ts';
import { subjectOf } from './subject.ts';

const ALGORITHM = 'RS256';
/** Replicas' clocks differ a little. Seconds. */
const CLOCK_TOLERANCE_SECONDS = 5;
/** A node that leaves late still says so (protocol.md). Seconds. */
const STOPPED_GRACE_SECONDS = 3600;
/** Ours have some 700 characters. */
const MAX_TOKEN = 4096;
/** Verified tokens that are remembered: a peer shows the same one every half minute. */
const MAX_REMEMBERED = 20_000;

/** Chihaya's texts (middleware/jwt): clients and operators know them. */
export type TokenRefusal = 'unapproved request: missing jwt' | 'unapproved request: invalid jwt';

/** A SHA-256 in base64url (RFC 7638). */
const THUMBPRINT = /^[\w-]{43}$/;

/** Who asks for a token. */
export interface TokenCaller {
  /** What it showed to the registry: secret. */
  readonly authorization: string | undefined;
  /** The thumbprint of the key to which the token is bound (RFC 7800 `cnf`, RFC 9449 `jkt`). */
  readonly nodeKey?: string | undefined;
}

/** The caller of a request; what stands in `Quayctl-Key` and is no thumbprint counts as nothing. */
export function tokenCaller({ request: { headers } }: Pick<RequestContext, 'request'>): TokenCaller {
  const nodeKey = headers['quayctl-key'];
  const isThumbprint = typeof nodeKey === 'string' && THUMBPRINT.test(nodeKey);
  return { authorization: headers.authorization, nodeKey: isThumbprint ? nodeKey : undefined };
}

export interface AnnounceTokenOptions {
  readonly keys: KeyRing;
  readonly secret: Secret;
  /** The service's public URL. */
  readonly issuer: string;
  /** Tracker URL; what stands behind its `?` is kept in announce URLs and is no part of the audience. */
  readonly announce: string;
  readonly ttlSeconds: number;
}

/** What a good token says of its holder. */
export interface TokenHolder {
  /** `sub`: the same for all tokens of one caller; undefined for strangers. */
  readonly subject: string | undefined;
}

interface Verified extends TokenHolder {
  readonly infoHash: InfoHash;
  /** Seconds since 1970. */
  readonly exp: number;
}

/** JSON Web Tokens that let their holder announce to one swarm (protocol.md, "Tokens"; RFC 7519). */
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
  async announceUrl(infoHash: InfoHash, { authorization, nodeKey }: TokenCaller): Promise<string> {
    const { keys, secret, issuer, announce, ttlSeconds } = this.#options;
    const { kid, key } = await keys.signer();
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({
      infohash: infoHash,
      ...(nodeKey === undefined ? {} : { cnf: { jkt: nodeKey } }),
    })
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(this.#audience)
      .setSubject(subjectOf(secret, authorization))
      .setIssuedAt(now)
      .setExpirationTime(now + ttlSeconds)
      .sign(key);
    return `${announce}${announce.includes('?') ? '&' : '?'}jwt=${token}`;
  }

  /** Who announces or scrapes `infoHash` with this token, or why that is refused. */
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
      const { payload } = await jwtVerify<{ infohash?: unknown }>(token, key satisfies UsableKey, {
        algorithms: [ALGORITHM],
        issuer,
        audience: this.#audience,
        requiredClaims: ['exp', 'iat', 'sub', 'infohash'],
        clockTolerance: STOPPED_GRACE_SECONDS,
      });
      const { infohash, exp, sub } = payload;
      if (typeof infohash !== 'string' || exp === undefined) return undefined;
      const subject = sub === subjectOf(this.#options.secret, undefined) ? undefined : sub;
      return { infoHash: parseInfoHash(infohash), exp, subject };
    } catch {
      // Whatever is wrong with it: it is the peer's, and he is told no more than that.
      return undefined;
    }
  }
}
