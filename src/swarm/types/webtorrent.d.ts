/** What we use of webtorrent 3.0.21, which ships no types. Names with an underscore are used in privates.ts only. */
declare module 'webtorrent' {
  import type { EventEmitter } from 'node:events';
  import type { Server } from 'node:net';
  import type Wire from 'bittorrent-protocol';

  export interface ChunkStore {
    readonly chunkLength: number;
    put(index: number, bytes: Uint8Array, done: (error: Error | null) => void): void;
    get(
      index: number,
      options: { offset?: number; length?: number } | null,
      done: (error: Error | null, bytes?: Uint8Array) => void,
    ): void;
    close(done: (error: Error | null) => void): void;
    destroy(done: (error: Error | null) => void): void;
  }

  /** As parse-torrent gives it. */
  export interface ParsedTorrent {
    infoHash: string;
    info: Record<string, unknown>;
    name: string;
    announce: string[];
    urlList: string[];
    private: boolean;
    files: { path: string; name: string; length: number; offset: number }[];
    length: number;
    pieceLength: number;
    lastPieceLength: number;
    pieces: string[];
  }

  export interface TorrentOptions {
    preloadedStore: ChunkStore;
    storeCacheSlots: number;
    strategy: 'rarest' | 'sequential';
    deselect: boolean;
    private: boolean;
    skipVerify?: boolean;
    bitfield?: Uint8Array;
    uploads: number;
    maxWebConns: number;
  }

  export interface Piece {
    readonly length: number;
    readonly missing: number;
    sources: Wire[] | null;
    readonly _chunks: number;
    readonly _reservations: number;
    readonly _buffered: number;
    _buffer: Uint8Array[] | null;
    _cancellations: number[] | null;
    _flushed: boolean;
    flush(): Uint8Array | null;
  }

  export interface Torrent extends EventEmitter {
    readonly infoHash: string;
    readonly ready: boolean;
    readonly done: boolean;
    readonly destroyed: boolean;
    readonly wires: Wire[];
    readonly pieces: (Piece | null)[];
    readonly client: WebTorrent;
    readonly bitfield: { get(index: number): boolean };
    readonly downloadSpeed: number;
    readonly uploadSpeed: number;
    addPeer(address: string, source?: string): boolean;
    removePeer(id: string): void;
    addWebSeed(connection: Wire & { connId: string }): void;
    select(start: number, end: number, priority?: number): void;
    destroy(options: object, done: (error?: Error | null) => void): void;
    _queue: unknown[];
    _peers: Map<string, { id: string; addr: string | null; wire: Wire | null }> | null;
    _rarityMap: { destroy(): void };
    _update(): void;
    _updateWire(wire: Wire): void;
    _drain(): void;
    _addPeer(
      peer: unknown,
      type: string,
      source: string,
    ): (EventEmitter & { _handshakeDone?: boolean }) | null;
    _request(wire: Wire, index: number, hotswap: boolean): boolean;
  }

  interface ThrottleGroup {
    throttle(): {
      destroying: boolean;
      _transform(chunk: Uint8Array, done: (error: unknown, chunk?: Uint8Array) => void): void;
    };
    destroy(): void;
  }

  export interface ClientOptions {
    peerId: string;
    userAgent: string;
    torrentPort: number;
    maxConns: number;
    secure: number;
    dht: false;
    lsd: false;
    utPex: false;
    utp: false;
    natUpnp: false;
    natPmp: false;
    tracker: false;
    webSeeds: false;
  }

  export default class WebTorrent extends EventEmitter {
    constructor(options: ClientOptions);
    readonly peerId: string;
    readonly torrentPort: number;
    readonly listening: boolean;
    readonly destroyed: boolean;
    readonly torrents: Torrent[];
    readonly dht: unknown;
    readonly natTraversal: unknown;
    readonly _server: unknown;
    readonly _connPool: { tcpServer: Server | null; utpServer?: unknown } | null;
    secure: number;
    throttleGroups: { down: ThrottleGroup; up: ThrottleGroup };
    add(torrent: ParsedTorrent, options: TorrentOptions): Torrent;
    destroy(done: (error?: Error | null) => void): void;
  }
}
