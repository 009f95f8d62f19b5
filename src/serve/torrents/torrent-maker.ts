import type { Digest } from '../../image/digest.ts';
import { infoHashOf, type InfoHash } from '../../metainfo/info-hash.ts';
import { buildInfo, encodeTorrent, type PeerRule } from '../../metainfo/metainfo.ts';
import type { PieceHashes } from './hash-store.ts';
import type { Secret } from './secret.ts';

/** What stands around the info dictionary, for one caller. */
export interface TorrentSurroundings {
  /** Tracker URL, with the caller's token. */
  readonly announce: (infoHash: InfoHash) => Promise<string>;
  readonly webSeeds: readonly string[];
  /** The rule for peers of the swarm; undefined: every peer with a token. */
  readonly peers: PeerRule | undefined;
  /** For an ACI only. */
  readonly imageId?: string | undefined;
  /** For a squashed image or an ACI: the manifest of the image from which it was made. */
  readonly manifest?: Digest | undefined;
}

/** The .torrent of a blob (docs/protocol.md, "The metainfo"). Its info dictionary is the same on all replicas. */
export async function makeTorrent(
  secret: Secret,
  { digest, length, pieces, made }: PieceHashes,
  { announce, webSeeds, imageId, manifest, peers }: TorrentSurroundings,
): Promise<Uint8Array> {
  const info = buildInfo({ name: secret.torrentName(digest), length, pieces });
  return encodeTorrent(info, {
    announce: [await announce(infoHashOf(info))],
    urlList: webSeeds,
    createdBy: 'quayctl',
    creationDate: made,
    digest,
    ...(imageId === undefined ? {} : { imageId }),
    ...(peers === undefined ? {} : { peers }),
    ...(manifest === undefined ? {} : { manifest }),
  });
}
