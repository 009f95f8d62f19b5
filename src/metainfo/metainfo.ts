import { QuayctlError } from '../base/errors.ts';
import { parseDigest, type Digest } from '../image/digest.ts';
import {
  decodeBencode,
  encodeBencode,
  isDictionary,
  type BDictionary,
  type BInput,
  type BValue,
} from './bencode.ts';
import { readTrackers, readWebSeeds } from './addresses.ts';
import { PIECE_HASH_LENGTH, pieceGeometry, type PieceGeometry } from './geometry.ts';
import { infoHashOf, type InfoHash } from './info-hash.ts';
import { byteString, integer, malformed, text } from './read-fields.ts';
import type { TrackerAddress } from './tracker-address.ts';

export type { PieceGeometry } from './geometry.ts';
export type { InfoHash } from './info-hash.ts';

/** A .torrent of one blob, parsed and checked (BEP 3, BEP 27 private, BEP 19 url-list). */
export interface Metainfo {
  readonly infoHash: InfoHash;
  /** `info.name` */
  readonly name: string;
  readonly geometry: PieceGeometry;
  /** SHA-1 of each piece, 20 bytes each, concatenated: `info.pieces`. */
  readonly pieces: Uint8Array;
  readonly private: boolean;
  /** In order, without duplicates. Others than http, https and udp may be among them. */
  readonly trackers: readonly TrackerAddress[];
  /** Web seed URLs; signed: secret. */
  readonly urlList: readonly string[];
  /** `quayctl.digest`, outside `info`: what the content must hash to. */
  readonly digest?: Digest;
  /** `quayctl.imageID`, of an ACI: what rkt calls it, `sha512-` and 64 hex digits. */
  readonly imageId?: string;
  /** `quayctl.manifest`, of a squashed image or an ACI: the manifest of the image that it was made of. */
  readonly manifest?: Digest;
  /** `quayctl.peers`: `tls` where only nodes that prove their key over TLS belong to the swarm. */
  readonly peers?: PeerRule;
  /** The bencoded info dictionary as it was, for the info hash. */
  readonly infoBytes: Uint8Array;
}

/** Which peers a swarm may have; without a rule any. */
export type PeerRule = 'tls';

/** The fields outside `info`. */
export interface TorrentFields {
  /** Tracker URLs, first choice first; at least one. */
  readonly announce: readonly string[];
  readonly urlList?: readonly string[];
  readonly createdBy?: string;
  /** Seconds since 1970. */
  readonly creationDate?: number;
  readonly digest?: Digest;
  /** Of an ACI; only beside `digest`. */
  readonly imageId?: string;
  /** Of a squashed image or an ACI, the manifest of the image that it was made of; only beside `digest`. */
  readonly manifest?: Digest;
  readonly peers?: PeerRule;
  /** The torrent came from another machine, so that its trackers must not be on this one. */
  readonly fromElsewhere?: boolean;
}

/**
 * The size of a torrent. 512 GiB in pieces of 1 MiB need 10 MiB of hashes; torrents of this service stay below 1 MiB
 * up to 800 GiB.
 */
export const MAX_TORRENT_BYTES = 16 * 1024 * 1024;
/** The longest file name of common file systems. */
const MAX_NAME = 255;
/** Half of a SHA-512 (appc spec, "Image ID", as rkt shortens it). */
const IMAGE_ID = /^sha512-[0-9a-f]{64}$/;

/**
 * The info dictionary (docs/protocol.md, "The metainfo"), exactly {length, name, piece length, pieces, private: 1}.
 * @param content `name` 64 hex digits by HMAC, `length` bytes, `pieces` as PieceHasher gives them
 */
export function buildInfo(content: { name: string; length: number; pieces: Uint8Array }): Uint8Array {
  const { name, length, pieces } = content;
  const { pieceLength, pieceCount } = pieceGeometry(length);
  if (pieces.length !== pieceCount * PIECE_HASH_LENGTH) {
    throw new QuayctlError('internal', `${pieces.length} bytes of hashes for ${pieceCount} pieces`);
  }
  return encodeBencode({ length, name, 'piece length': pieceLength, pieces, private: 1 });
}

/** A .torrent around the bytes of an info dictionary, which go in as they are. */
export function encodeTorrent(infoBytes: Uint8Array, fields: TorrentFields): Uint8Array {
  const {
    announce,
    urlList = [],
    createdBy,
    creationDate,
    digest,
    imageId,
    manifest,
    peers,
    fromElsewhere,
  } = fields;
  const [first] = announce;
  const torrent: Record<string, BInput> = { info: { raw: infoBytes } };
  if (first !== undefined) torrent['announce'] = first;
  // BEP 12: a tier for each, so that they are tried in this order.
  if (announce.length > 1) torrent['announce-list'] = announce.map((url) => [url]);
  if (urlList.length > 0) torrent['url-list'] = urlList;
  if (createdBy !== undefined) torrent['created by'] = createdBy;
  if (creationDate !== undefined) torrent['creation date'] = creationDate;
  if (digest !== undefined || peers !== undefined || fromElsewhere === true) {
    torrent['quayctl'] = {
      ...(digest === undefined ? {} : { digest }),
      ...(fromElsewhere === true ? { 'from elsewhere': 1 } : {}),
      ...(imageId === undefined ? {} : { imageID: imageId }),
      ...(manifest === undefined ? {} : { manifest }),
      ...(peers === undefined ? {} : { peers }),
    };
  }
  return encodeBencode(torrent);
}

/**
 * Reads and checks a .torrent from anybody. Errors name the field, never a URL: those may hold a token.
 * @throws QuayctlError `protocol` for anything but a version 1 torrent of one file, `limit`, `unsupported` (its digest)
 */
export function decodeTorrent(bytes: Uint8Array): Metainfo {
  const { torrent, info, infoBytes } = split(bytes);
  refuseOtherKinds(info);
  const geometry = pieceGeometry(integer(info, 'length'), integer(info, 'piece length'));
  const pieces = byteString(info.entries.get('pieces'), 'pieces');
  if (pieces.length !== geometry.pieceCount * PIECE_HASH_LENGTH) {
    throw malformed(`${pieces.length} bytes of hashes for ${geometry.pieceCount} pieces`);
  }
  return {
    infoHash: infoHashOf(infoBytes),
    name: readName(info),
    geometry,
    pieces,
    private: info.entries.get('private') === 1,
    trackers: readTrackers(torrent),
    urlList: readWebSeeds(torrent),
    ...readContent(torrent),
    infoBytes,
  };
}

/**
 * The .torrent for keeping on disk: trackers without token and password, no web seeds, `info` as it was; of the
 * rest only what we know to be no secret.
 * @throws QuayctlError as decodeTorrent
 */
export function withoutSecrets(bytes: Uint8Array): Uint8Array {
  const { infoBytes, trackers, digest, imageId, manifest, peers } = decodeTorrent(bytes);
  const bare = [...new Set(trackers.map((tracker) => tracker.withoutSecrets().announceUrl))];
  return encodeTorrent(infoBytes, {
    announce: bare,
    fromElsewhere: trackers.some(({ denyLocal }) => denyLocal),
    ...(digest === undefined ? {} : { digest }),
    ...(imageId === undefined ? {} : { imageId }),
    ...(manifest === undefined ? {} : { manifest }),
    ...(peers === undefined ? {} : { peers }),
  });
}

/**
 * The same torrent with a note for its readers (`quayctl.from elsewhere`) that another machine gave it, so that
 * trackers on this machine are not believed, neither in this run nor when the store gives it back. Fields that quayctl
 * does not read are left out.
 * @throws QuayctlError as decodeTorrent
 */
export function notedAsFromElsewhere(bytes: Uint8Array): Uint8Array {
  const { infoBytes, trackers, urlList, digest, imageId, manifest, peers } = decodeTorrent(bytes);
  return encodeTorrent(infoBytes, {
    announce: trackers.map(({ announceUrl }) => announceUrl),
    urlList,
    fromElsewhere: true,
    ...(digest === undefined ? {} : { digest }),
    ...(imageId === undefined ? {} : { imageId }),
    ...(manifest === undefined ? {} : { manifest }),
    ...(peers === undefined ? {} : { peers }),
  });
}

function split(bytes: Uint8Array): { torrent: BDictionary; info: BDictionary; infoBytes: Uint8Array } {
  if (bytes.length > MAX_TORRENT_BYTES) {
    throw new QuayctlError(
      'limit',
      `torrent: ${bytes.length} bytes, more than ${MAX_TORRENT_BYTES} are not read`,
    );
  }
  const torrent = decodeBencode(bytes);
  if (!isDictionary(torrent)) throw malformed('not a dictionary');
  const info = torrent.entries.get('info');
  if (!isDictionary(info)) throw malformed('info is missing, or not a dictionary');
  return { torrent, info, infoBytes: bytes.subarray(info.start, info.end) };
}

/** BEP 52 (version 2 and hybrids) and torrents of several files: a blob is one file, verified by SHA-1 pieces. */
function refuseOtherKinds({ entries }: BDictionary): void {
  if (entries.has('meta version') || entries.has('file tree'))
    throw malformed('version 2 and hybrids are not read');
  if (entries.has('files')) throw malformed('it has several files');
}

function readName(info: BDictionary): string {
  const name = text(info.entries.get('name'), 'name', MAX_NAME);
  if (name === '.' || name === '..' || /[/\\]|\p{Cc}/u.test(name))
    throw malformed('its name is not a valid file name');
  return name;
}

/** `quayctl` = {digest, imageID} */
function readContent({ entries }: BDictionary): Pick<Metainfo, 'digest' | 'imageId' | 'manifest'> {
  const quayctl = entries.get('quayctl');
  if (quayctl === undefined) return {};
  if (!isDictionary(quayctl)) throw malformed('quayctl is not a dictionary');
  const digest = quayctl.entries.get('digest');
  const imageId = quayctl.entries.get('imageID');
  const manifest = quayctl.entries.get('manifest');
  return {
    ...(digest === undefined ? {} : { digest: parseDigest(text(digest, 'quayctl.digest', 1024)) }),
    ...(imageId === undefined ? {} : { imageId: readImageId(imageId) }),
    ...(manifest === undefined ? {} : { manifest: parseDigest(text(manifest, 'quayctl.manifest', 1024)) }),
    // Whatever rule a later service names, it is no weaker than the one that we know.
    ...(quayctl.entries.has('peers') ? { peers: 'tls' } : {}),
  };
}

function readImageId(value: BValue): string {
  const imageId = text(value, 'quayctl.imageID', 1024);
  if (IMAGE_ID.test(imageId)) return imageId;
  throw malformed('quayctl.imageID is not sha512- and 64 hexadecimal digits');
}

/** For people: the blob, else its torrent. */
export function shortName({ digest, name }: Metainfo): string {
  return digest === undefined ? name.slice(0, 12) : digest.slice(0, 'sha256:'.length + 12);
}
