import { createHash } from 'node:crypto';
import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JSONWebKeySet,
} from 'jose';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { AnnounceToken } from '../../metainfo/tracker-address.ts';
import { PEER_PROTOCOL } from '../wire/peer-tls.ts';

/** Torrent service and nodes need not agree on the second. Seconds. */
const CLOCK_TOLERANCE_SECONDS = 5;
/** A clock that differs from the service's by more is wrong, and the service's is followed. Seconds. */
const WRONG_CLOCK_SECONDS = 120;
/** As in src/serve/tokens/announce-tokens.ts. */
const ALGORITHM = 'RS256';

/**
 * The keys of the torrent service (RFC 7517), kept by whoever asks it; asked for again where `kid` is not among them.
 * @throws QuayctlError where they cannot be had
 */
export type ServiceKeys = (kid: string) => Promise<unknown>;

export interface TorrentAdmissionOptions {
  readonly infoHash: InfoHash;
  /** The thumbprint of this node's key. */
  readonly thumbprint: string;
  /** This node's announce token, as it is now. */
  readonly token: () => AnnounceToken | undefined;
  readonly serviceKeys: ServiceKeys;
}

interface OwnToken {
  readonly jwt: string;
  readonly issuer: string;
  readonly audience: string;
  /** The service's clock, seconds since 1970. */
  readonly now: number;
}

/**
 * Decides which peers may take part in one torrent: those that show a token of the same service for it and have the key that the token
 * names (RFC 7800 `cnf`, RFC 9449 `jkt`).
 */
export class TorrentAdmission {
  readonly infoHash: InfoHash;
  /** How a dialling node names the torrent to a peer that has not shown that it knows it. Hexadecimal. */
  readonly name: string;
  readonly #options: TorrentAdmissionOptions;

  constructor(options: TorrentAdmissionOptions) {
    this.#options = options;
    this.infoHash = options.infoHash;
    this.name = createHash('sha256')
      .update(PEER_PROTOCOL)
      .update(Buffer.from(options.infoHash, 'hex'))
      .digest('hex');
  }

  /** This node has a live token that names its key, so that it can be admitted by others. */
  get hasToken(): boolean {
    return this.#own() !== undefined;
  }

  /** The token that is shown to peers: secret; undefined without a live one. */
  get jwt(): string | undefined {
    return this.#own()?.jwt;
  }

  /**
   * Whether the holder of a key may take part, by the token that it shows.
   * @param thumbprint of the key that it has proved to have
   * @returns for how long, milliseconds; undefined: not at all
   */
  async check(jwt: string, thumbprint: string): Promise<number | undefined> {
    const own = this.#own();
    if (own === undefined) return undefined;
    try {
      const keys = await this.#options.serviceKeys(decodeProtectedHeader(jwt).kid ?? '');
      const { payload } = await jwtVerify<{ infohash?: unknown; cnf?: { jkt?: unknown } }>(
        jwt,
        createLocalJWKSet(keys as JSONWebKeySet),
        {
          algorithms: [ALGORITHM],
          issuer: own.issuer,
          audience: own.audience,
          requiredClaims: ['exp', 'infohash', 'cnf'],
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
          currentDate: new Date(own.now * 1000),
        },
      );
      const { exp = 0, infohash, cnf } = payload;
      if (infohash !== this.infoHash || cnf?.jkt !== thumbprint) return undefined;
      return Math.max(0, exp + CLOCK_TOLERANCE_SECONDS - own.now) * 1000;
    } catch (error) {
      // Whatever is wrong with it is the peer's fault; what is wrong with the key set is told where it is fetched.
      if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  }

  #own(): OwnToken | undefined {
    const token = this.#options.token();
    if (token === undefined) return undefined;
    try {
      const { iss, aud, iat, exp, infohash, cnf } = decodeJwt<{
        infohash?: unknown;
        cnf?: { jkt?: unknown };
      }>(token.jwt);
      if (iss === undefined || typeof aud !== 'string' || iat === undefined || exp === undefined)
        return undefined;
      const now = serviceTime(iat, token.receivedAt);
      const isMine = infohash === this.infoHash && cnf?.jkt === this.#options.thumbprint;
      return isMine && now < exp ? { jwt: token.jwt, issuer: iss, audience: aud, now } : undefined;
    } catch {
      return undefined; // a token of another kind of tracker
    }
  }
}

/** This machine's clock, unless it is plainly wrong: a token was issued when it was received. Seconds since 1970. */
function serviceTime(issuedAt: number, receivedAt: number): number {
  const here = Date.now() / 1000;
  const there = issuedAt + (performance.now() - receivedAt) / 1000;
  return Math.abs(here - there) > WRONG_CLOCK_SECONDS ? there : here;
}
