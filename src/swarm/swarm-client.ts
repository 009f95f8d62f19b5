import type { Http } from '../http/http.ts';
import type { RateLimiter } from '../base/rate-limiter.ts';
import type { InfoHash, Metainfo } from '../metainfo/metainfo.ts';
import type { NodeKey } from './admission/node-key.ts';
import type { ServiceKeys } from './admission/torrent-admission.ts';
import type { RenewTrackers } from './tracker/tracker-tokens.ts';

/** Where the pieces of a torrent lie; satisfied by the store's PartialBlob and BlobReader. */
export interface PieceStorage {
  readonly size: number;
  /** @param into where the bytes may be put, so that nothing has to be allocated; of at least that length */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Absent: everything is here and nothing will be written (seeding). */
  write?(offset: number, bytes: Uint8Array): Promise<void>;
  /** Absent: everything is here. */
  has?(start: number, end: number): boolean;
}

/** The registry behind a RegistrySeed: bytes `start` to `end` (exclusive), in order. */
export type RangeSource = (start: number, end: number, signal: AbortSignal) => AsyncIterable<Uint8Array>;

/** A peer that this node has met in a swarm. */
export interface Meeting {
  /** Addresses of other nodes that trackers named. */
  readonly known: number;
  /** Peers with whom a handshake was made, in either direction. */
  readonly reached: number;
  /** An attempt to connect has failed, or has been waiting for longer than a connection usually takes. */
  readonly isOverdue: boolean;
}

/** Another node of a swarm, and what came of the attempt to connect to it. */
export interface Contact {
  /** `host:port` where it accepts connections; of one that came in and did not say, the host alone. */
  readonly address: string;
  readonly state: 'connected' | 'failed' | 'waiting';
  /** Why the connection failed, for people. */
  readonly why?: string | undefined;
  /** The connection uses TLS, so the peer was admitted by its token. */
  readonly isTls?: boolean;
  /** The share of the pieces that a connected peer has, 0 to 1. */
  readonly share?: number;
}

/** Integer bytes; what verified, by where it came from. `length = fromPeers + fromRegistry + fromStorage` when done. */
export interface SwarmStats {
  readonly fromPeers: number;
  readonly fromRegistry: number;
  /** Was already in the storage at the start, and verified. */
  readonly fromStorage: number;
  /** Received and thrown away (bad pieces, duplicates). */
  readonly wasted: number;
  readonly uploaded: number;
  /** Connected BitTorrent peers, the registry not counted. */
  readonly peers: number;
  readonly meeting: Meeting;
  /** Peer ids of those that bytes were given to; a node has one for all its torrents. */
  readonly takers: ReadonlySet<string>;
  /** Bytes per second. */
  readonly downloadRate: number;
  readonly uploadRate: number;
}

/** Which pieces are here, and which are on their way. */
export interface PieceStates {
  /** Verified ones: the first piece is the highest bit of the first byte (BEP 3). */
  readonly have: Uint8Array;
  /** Asked of peers. */
  readonly fetching: readonly number[];
  /** Taken from the registry, or about to be. */
  readonly claimed: readonly number[];
}

export interface JoinOptions {
  readonly metainfo: Metainfo;
  readonly storage: PieceStorage;
  /** Absent with --skip-web-seed and when seeding. */
  readonly registry?: RangeSource;
  /** Replaces the torrent's own trackers (`--tracker`); no token is ever sent to these. */
  readonly trackers?: readonly string[];
  /**
   * Asks for the torrent's trackers again, with fresh announce tokens. Called some time before a token expires, and
   * when a tracker refuses one; absent where nobody can be asked.
   */
  readonly renewTrackers?: RenewTrackers;
  /** The keys that sign announce tokens, by which other nodes are admitted; absent: nobody is, over TLS. */
  readonly serviceKeys?: ServiceKeys;
  /**
   * Called with bytes `start` to `end` (exclusive) of each piece that has verified and lies in the storage, those that
   * were found there at the start included.
   */
  readonly onVerified?: (start: number, end: number) => void;
  /**
   * Torrents of the same repository are given the same object. While no tracker answers, peers of the others are dialled
   * for this one, too; nobody else is told its info hash.
   */
  readonly group?: object;
  /** Without a registry: how long a piece that nobody has is waited for, milliseconds. */
  readonly waitForPeersMs?: number;
  readonly signal: AbortSignal;
}

/** One torrent that this process takes part in. */
export interface Swarm {
  readonly infoHash: InfoHash;
  readonly pieceCount: number;
  stats(): SwarmStats;
  /** Which pieces are where. */
  pieces(): PieceStates;
  /** Every node that is connected, or that a tracker named. */
  contacts(): readonly Contact[];
  /**
   * Somebody waits for bytes `start` to `end` (exclusive): their pieces are asked for before all others, of peers and
   * of the registry. May be called at any time, also with bytes that are here.
   */
  want(start: number, end: number): void;
  /**
   * Resolves when every piece is in the storage and has verified against its SHA-1. The swarm keeps seeding.
   * @throws QuayctlError `no-peers`, `interrupted`, and what the registry source or the storage threw when no
   *   other path is left
   */
  readonly done: Promise<void>;
  /** Peers are told, the tracker gets `stopped` (waited for at most 2 s). Idempotent. */
  leave(): Promise<void>;
}

export interface SwarmClient {
  /** The port on which peers are accepted, after the first join. */
  readonly port: number;
  /** By which trackers and peers know this process, 40 hex digits. */
  readonly peerId: string;
  join(options: JoinOptions): Promise<Swarm>;
  /** Leaves every swarm and closes the sockets. */
  close(): Promise<void>;
}

/** 0: forced (RC4 over the payload), 1: preferred, 2: off. It hides, it does not authenticate. */
export type EncryptionMode = 0 | 1 | 2;

export interface SwarmClientOptions {
  /** For HTTP trackers. Not closed by the client. */
  readonly http: Http;
  /** The range in which a peer port is taken, both included. */
  readonly lowerPort: number;
  readonly upperPort: number;
  /** The user gave the range: a full one is an error (`port`), not a warning and a port of the kernel's choice. */
  readonly portRangeStrict?: boolean;
  /** The address under which peers reach this node, sent to HTTP trackers as `ip` (BEP 3). */
  readonly announceIp?: string;
  /** By which other nodes know this one; absent: there is no TLS with them. */
  readonly nodeKey?: NodeKey;
  /** How connections without TLS are encrypted; default 1. */
  readonly encryptionMode?: EncryptionMode;
  /** Connection attempts per second over all torrents; default 200. */
  readonly connectionsPerSecond?: number;
  /** Bind every peer and the registry, over all torrents; default unlimited. */
  readonly downloadLimiter?: RateLimiter;
  readonly uploadLimiter?: RateLimiter;
  /** For people; holds no secret. */
  readonly onWarning?: (message: string) => void;
  readonly onDebug?: (message: string) => void;
}
