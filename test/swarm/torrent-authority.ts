import { createHash } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';
import { buildInfo, decodeTorrent, encodeTorrent, type PeerRule } from '../../src/metainfo/metainfo.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { infoHashOf, type InfoHash } from '../../src/metainfo/info-hash.ts';
import type { NodeKey } from '../../src/swarm/admission/node-key.ts';
import type { Sample } from './kit.ts';

type PrivateKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

const ISSUER = 'http://service.test';
const KID = 'the key';

export interface TokenClaims {
  readonly infoHash: InfoHash;
  /** Whose key the token names; undefined for none. */
  readonly thumbprint: string | undefined;
  /** From now; an hour by default. Seconds. */
  readonly seconds?: number;
  readonly issuer?: string;
  readonly audience?: string;
}

/** Makes torrents and announce tokens as `quayctl serve` does, for content and keys of the test's choice. */
export class TorrentAuthority {
  readonly #announce: string;
  readonly #jwk: JWK;
  readonly #key: PrivateKey;

  private constructor(announce: string, jwk: JWK, key: PrivateKey) {
    this.#announce = announce;
    this.#jwk = { ...jwk, kid: KID, alg: 'RS256' };
    this.#key = key;
  }

  static async create(announce: string): Promise<TorrentAuthority> {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    return new TorrentAuthority(announce, await exportJWK(publicKey), privateKey);
  }

  /** As JoinOptions has it. */
  readonly serviceKeys = (): Promise<unknown> => Promise.resolve({ keys: [this.#jwk] });

  sign({ infoHash, thumbprint, seconds = 3600, issuer, audience }: TokenClaims): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const cnf = thumbprint === undefined ? {} : { cnf: { jkt: thumbprint } };
    return new SignJWT({ infohash: infoHash, ...cnf })
      .setProtectedHeader({ alg: 'RS256', kid: KID, typ: 'JWT' })
      .setIssuer(issuer ?? ISSUER)
      .setAudience(audience ?? this.#announce)
      .setSubject('somebody')
      .setIssuedAt(Math.min(now, now + seconds - 1))
      .setExpirationTime(now + seconds)
      .sign(this.#key);
  }

  /** The torrent as the service gives it to the node with this key, or to a client without one. */
  async torrentFor(
    content: Buffer,
    key: NodeKey | undefined,
    peers: PeerRule | 'any',
    seconds?: number,
  ): Promise<Sample> {
    const { pieceLength } = pieceGeometry(content.length);
    const hashes: Buffer[] = [];
    for (let at = 0; at < content.length; at += pieceLength) {
      hashes.push(
        createHash('sha1')
          .update(content.subarray(at, at + pieceLength))
          .digest(),
      );
    }
    const name = createHash('sha256').update(content).digest('hex');
    const info = buildInfo({ name, length: content.length, pieces: Buffer.concat(hashes) });
    const claims = {
      infoHash: infoHashOf(info),
      thumbprint: key?.thumbprint,
      ...(seconds === undefined ? {} : { seconds }),
    };
    const announce = [`${this.#announce}?jwt=${await this.sign(claims)}`];
    const torrent = encodeTorrent(info, { announce, ...(peers === 'any' ? {} : { peers }) });
    return { content, torrent, metainfo: decodeTorrent(torrent) };
  }
}
