/** A piece and the tag of the peer (peerTag) that is fetching it. */
export interface HeardClaim {
  readonly index: number;
  readonly tag: number;
}

/** What one peer tells another about who fetches what from the registry. */
export type ClaimMessage =
  | {
      /** `fetching`: a claim whose bytes are on their way already. */
      readonly kind: 'claim' | 'fetching' | 'drop';
      /** "Do not ask for these, I bring them"; or no longer. */
      readonly pieces: readonly number[];
    }
  | RelayedMessage;

/** Claims of others, made or let go, passed on where not everybody is connected with everybody. */
export interface RelayedMessage {
  readonly kind: 'relayed' | 'withdrawn';
  readonly claims: readonly HeardClaim[];
}

/** One message; a node has fewer open at once. */
export const MAX_CLAIMS_PER_MESSAGE = 64;
/** On the wire: its place in this list. */
const KINDS = ['claim', 'drop', 'fetching', 'relayed', 'withdrawn'] as const;
const NUMBER_BYTES = 4;

/** kind (1 byte), then piece indexes, each of a relayed claim followed by a tag (4 bytes each, big-endian). */
export function encodeClaims(message: ClaimMessage): Uint8Array {
  const numbers =
    'claims' in message ? message.claims.flatMap(({ index, tag }) => [index, tag]) : message.pieces;
  const bytes = new Uint8Array(1 + numbers.length * NUMBER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, KINDS.indexOf(message.kind));
  numbers.forEach((number, at) => view.setUint32(1 + at * NUMBER_BYTES, number));
  return bytes;
}

/** @returns undefined for what is no such message: too long, not whole, an unknown kind, an index out of range */
export function decodeClaims(bytes: Uint8Array, pieceCount: number): ClaimMessage | undefined {
  const kind = KINDS[bytes[0] ?? KINDS.length];
  if (kind === undefined) return undefined;
  const isRelayed = kind === 'relayed' || kind === 'withdrawn';
  const width = isRelayed ? 2 : 1;
  const count = (bytes.length - 1) / NUMBER_BYTES / width;
  if (!Number.isInteger(count) || count < 1 || count > MAX_CLAIMS_PER_MESSAGE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const number = (at: number): number => view.getUint32(1 + at * NUMBER_BYTES);
  const pieces = Array.from({ length: count }, (_, at) => number(at * width));
  if (pieces.some((index) => index >= pieceCount)) return undefined;
  if (!isRelayed) return { kind, pieces };
  return { kind, claims: pieces.map((index, at) => ({ index, tag: number(2 * at + 1) })) };
}
