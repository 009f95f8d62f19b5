import { QuayctlError } from '../../base/errors.ts';
import { list, object, text, type JsonObject } from '../../image/json.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';

/** The body of a report: one without pieces has some 200 bytes; 100,000 pieces are 17 KB. */
export const MAX_REPORT_BYTES = 64 * 1024;
/** Pieces on their way that a report names; a node has less than a hundred open. */
const MAX_OPEN = 512;
const MAX_VERSION = 40;

/** What a node tells of one layer (docs/protocol.md, "Reports"). Integer bytes, seconds. */
export interface Report {
  /** Of the node's process, 40 hex digits; two processes of one node count on their own. */
  readonly peer: string;
  /** On which it accepts peers; 0 where it does not. */
  readonly port: number;
  readonly version: string;
  readonly size: number;
  /** What lies on its disk. */
  readonly have: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  /** The two, as the last report had them that was answered. */
  readonly told: { readonly fromPeers: number; readonly fromRegistry: number };
  readonly given: number;
  readonly seconds: number;
  readonly state: 'pulling' | 'done' | 'failed';
  readonly pieces?: Pieces;
}

/** Which pieces are where. */
export interface Pieces {
  /** The first piece is the highest bit of the first byte (BEP 3). */
  readonly have: Uint8Array;
  readonly fetching: readonly number[];
  readonly claimed: readonly number[];
}

/** @throws QuayctlError `protocol`, `limit` */
export function parseReport(fields: JsonObject): Report {
  const size = bytesOf(fields['size'], 'size', Number.MAX_SAFE_INTEGER);
  if (size === 0) throw new QuayctlError('protocol', 'size: 0');
  const { peer, state } = fields;
  if (typeof peer !== 'string' || !/^[0-9a-f]{40}$/.test(peer)) {
    throw new QuayctlError('protocol', 'peer: 40 hex digits are wanted');
  }
  if (state !== 'pulling' && state !== 'done' && state !== 'failed') {
    throw new QuayctlError('protocol', 'state: pulling, done or failed is wanted');
  }
  const sums = sumsOf(fields['fromPeers'], fields['fromRegistry'], size);
  const [toldPeers, toldRegistry] = list(fields['told'], 'told', 2);
  const { pieces } = fields;
  return {
    peer,
    port: bytesOf(fields['port'] ?? 0, 'port', 65_535),
    version: text(fields['version'], 'version', MAX_VERSION),
    size,
    have: bytesOf(fields['have'], 'have', size),
    ...sums,
    told: sumsOf(toldPeers ?? 0, toldRegistry ?? 0, size),
    given: bytesOf(fields['given'] ?? 0, 'given', Number.MAX_SAFE_INTEGER),
    seconds: secondsOf(fields['seconds']),
    state,
    ...(pieces === undefined ? {} : { pieces: piecesOf(pieces, size) }),
  };
}

/** What was fetched twice is not received twice. */
function sumsOf(peers: unknown, registry: unknown, size: number): Report['told'] {
  const fromPeers = bytesOf(peers, 'fromPeers', size);
  const fromRegistry = bytesOf(registry, 'fromRegistry', Number.MAX_SAFE_INTEGER);
  return { fromPeers, fromRegistry: Math.min(fromRegistry, size - fromPeers) };
}

function piecesOf(value: unknown, size: number): Pieces {
  const fields = object(value, 'pieces');
  const { pieceCount } = pieceGeometry(size);
  const given = fields['have'];
  const have = Buffer.from(typeof given === 'string' ? given : '', 'base64');
  if (have.length !== Math.ceil(pieceCount / 8)) {
    throw new QuayctlError('protocol', `pieces: ${have.length} bytes for ${pieceCount} pieces`);
  }
  const indices = (name: string): number[] =>
    list(fields[name], name, MAX_OPEN).map((index) => bytesOf(index, name, pieceCount - 1));
  return { have, fetching: indices('fetching'), claimed: indices('claimed') };
}

function bytesOf(value: unknown, what: string, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new QuayctlError('protocol', `${what}: a whole number from 0 to ${most} is wanted`);
}

function secondsOf(value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value < 1e9) return value;
  throw new QuayctlError('protocol', 'seconds: a number is wanted');
}
