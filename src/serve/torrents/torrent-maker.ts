import { infoHashOf, type InfoHash } from '../../metainfo/info-hash.ts';
import { buildInfo, encodeTorrent } from '../../metainfo/metainfo.ts';
import type { HashStore, PieceHashes } from './hash-store.ts';
import type { Secret } from './secret.ts';

/** Makes torrents, and knows the info hashes of those it made. */
export class TorrentMaker {
  readonly #secret: Secret;
  readonly #infoHashes = new Set<InfoHash>();

  constructor(secret: Secret) {
    this.#secret = secret;
  }

  /**
   * The .torrent of a blob (protocol.md, "Info dictionary").
   * @param announce tracker URL
   */
  torrent(hashes: PieceHashes, announce: string, webSeeds: readonly string[]): Uint8Array {
    const { digest, made } = hashes;
    const info = this.#info(hashes);
    this.#infoHashes.add(infoHashOf(info));
    return encodeTorrent(info, {
      announce: [announce],
      urlList: webSeeds,
      createdBy: 'quayctl',
      creationDate: made,
      digest,
    });
  }

  knows(infoHash: InfoHash): boolean {
    return this.#infoHashes.has(infoHash);
  }

  /** Learns what was made before a restart. @throws QuayctlError `store` */
  async recall(store: HashStore): Promise<void> {
    for await (const hashes of store.all()) this.#infoHashes.add(infoHashOf(this.#info(hashes)));
  }

  #info({ digest, length, pieces }: PieceHashes): Uint8Array {
    return buildInfo({ name: this.#secret.torrentName(digest), length, pieces });
  }
}
