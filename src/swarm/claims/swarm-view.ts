import type { Delivered } from '../pieces/delivery.ts';
import type { OpenPiece } from '../pieces/pieces.ts';

/** The registry as FetchCoordinator sees it; RegistrySeed. */
export interface RegistryPieces {
  readonly open: ReadonlyMap<number, OpenPiece>;
  /** Bytes. */
  readonly received: number;
  /** What it gave while it was giving, and for how long that was: bytes, milliseconds. */
  readonly delivered: Delivered;
  readonly lost: unknown;
  isBackingOff(index: number): boolean;
  fetch(indexes: readonly number[], delayMs: number): void;
  /** What is arriving is broken off. */
  release(indexes: readonly number[]): void;
}

/** The torrent and its peers as FetchCoordinator sees them; TorrentState, or the simulator's. */
export interface SwarmView {
  /** Verified here. */
  has(index: number): boolean;
  /** How many connected peers that are not stalled have the piece. */
  holders(index: number): number;
  /** Blocks of it have been asked of peers. */
  begun(index: number): boolean;
  /** Bytes that came from peers. */
  readonly fromPeers: number;
  /** Connected peers that are not stalled. */
  readonly activePeers: number;
  /** Nodes that miss pieces, this one included, as a tracker counts them; undefined: not known. */
  readonly swarmSize: number | undefined;
}
