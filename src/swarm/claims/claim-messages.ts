/** A piece and the tag of the peer (peerTag) that is fetching it. */
export interface HeardClaim {
  readonly index: number;
  readonly tag: number;
}

/** What one peer tells another about which pieces are being fetched from the registry, and by whom. */
export type ClaimMessage =
  | {
      /** `claim`: the sender will fetch these; `fetching`: their bytes are already arriving; `drop`: it will not. */
      readonly kind: 'claim' | 'fetching' | 'drop';
      readonly pieces: readonly number[];
    }
  | RelayedMessage;

/** Claims of other nodes, made or withdrawn, passed on in swarms in which not every node is connected to all others. */
export interface RelayedMessage {
  readonly kind: 'relayed' | 'withdrawn';
  readonly claims: readonly HeardClaim[];
}

/** Entries of one message. A sender splits longer lists; a receiver ignores the entries behind these. */
export const MAX_CLAIMS_PER_MESSAGE = 64;
/** On the wire a kind is its position in this list. New kinds are appended; a position is never used again. */
const KINDS = ['claim', 'drop', 'fetching', 'relayed', 'withdrawn'] as const;
/** Kind, flags, length of an entry, number of entries: one byte each. */
const HEADER_BYTES = 4;
/** An index or a tag: unsigned, big-endian. */
const NUMBER_BYTES = 4;

/** Encodes one message (docs/protocol.md, "Messages"). */
export function encodeClaims(message: ClaimMessage): Uint8Array {
  const entries =
    'claims' in message
      ? message.claims.map(({ index, tag }) => [index, tag])
      : message.pieces.map((index) => [index]);
  const width = NUMBER_BYTES * ('claims' in message ? 2 : 1);
  const bytes = new Uint8Array(HEADER_BYTES + entries.length * width);
  bytes.set([KINDS.indexOf(message.kind), 0, width, entries.length]);
  const view = new DataView(bytes.buffer);
  entries.flat().forEach((number, at) => view.setUint32(HEADER_BYTES + at * NUMBER_BYTES, number));
  return bytes;
}

/**
 * Decodes what a peer sent. A later version of the extension may append kinds, fields of an entry and fields behind the
 * entries, and may use the flags: all of these are skipped, as are pieces that the torrent does not have.
 * @returns undefined for a message without anything that this version understands
 */
export function decodeClaims(bytes: Uint8Array, pieceCount: number): ClaimMessage | undefined {
  const [kindNumber = KINDS.length, , width = 0, count = 0] = bytes;
  const kind = KINDS[kindNumber];
  if (kind === undefined) return undefined;
  const isRelayed = kind === 'relayed' || kind === 'withdrawn';
  if (width < NUMBER_BYTES * (isRelayed ? 2 : 1)) return undefined;
  const whole = Math.floor((bytes.length - HEADER_BYTES) / width);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const claims: HeardClaim[] = [];
  for (let at = 0; at < Math.min(count, whole, MAX_CLAIMS_PER_MESSAGE); at++) {
    const start = HEADER_BYTES + at * width;
    const index = view.getUint32(start);
    if (index < pieceCount) claims.push({ index, tag: isRelayed ? view.getUint32(start + NUMBER_BYTES) : 0 });
  }
  if (claims.length === 0) return undefined;
  return isRelayed ? { kind, claims } : { kind, pieces: claims.map(({ index }) => index) };
}
