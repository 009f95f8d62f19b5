import type { Digest } from '../image/digest.ts';

declare const brand: unique symbol;
/** SHA-1 of the bencoded info dictionary, 40 lower-case hex digits (BEP 3). A capability: see SECURITY.md. */
export type InfoHash = string & { readonly [brand]: 'InfoHash' };

/** How a blob is cut into pieces (BEP 3). */
export interface PieceGeometry {
  /** Bytes of the blob, > 0. */
  readonly length: number;
  /** Bytes of every piece but the last. */
  readonly pieceLength: number;
  readonly pieceCount: number;
}

/** A .torrent of one blob, parsed and checked (BEP 3, BEP 27 private, BEP 19 url-list). */
export interface Metainfo {
  readonly infoHash: InfoHash;
  /** `info.name` */
  readonly name: string;
  readonly geometry: PieceGeometry;
  /** SHA-1 of each piece, 20 bytes each, concatenated: `info.pieces`. */
  readonly pieces: Uint8Array;
  readonly private: boolean;
  /** Tracker URLs in order, without duplicates; may carry an announce token: secret. */
  readonly announce: readonly string[];
  /** Web seed URLs; signed: secret. */
  readonly urlList: readonly string[];
  /** `quayctl.digest`, outside `info`: what the content must hash to. */
  readonly digest?: Digest;
  /** The bencoded info dictionary as it was, for the info hash. */
  readonly infoBytes: Uint8Array;
}
