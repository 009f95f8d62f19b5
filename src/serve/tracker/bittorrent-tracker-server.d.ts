/** The part of bittorrent-tracker 11 that is used here; the package ships no types. */
declare module 'bittorrent-tracker/server' {
  import type { EventEmitter } from 'node:events';

  export interface AnnounceParams {
    readonly action: number;
    readonly info_hash: string;
    readonly peer_id: string;
    readonly port: number;
    readonly left: number;
    readonly numwant: number;
    readonly event?: string;
    /** Every other parameter as it came: a text, or a list where it came twice. */
    readonly jwt?: unknown;
    readonly uploaded?: unknown;
    /** Of the answer: 1 for BEP 23. */
    compact: number;
    /** Address of the connection. */
    readonly ip: string;
    /** The request as it was handed in. */
    readonly httpReq: TrackerRequest;
  }

  export interface SwarmPeer {
    readonly peerId: string;
    readonly ip: string;
    readonly port: number;
  }

  export interface AnnounceResponse {
    readonly complete: number;
    readonly incomplete: number;
    /** Seconds. */
    readonly interval?: number;
    readonly 'min interval'?: number;
    readonly 'warning message'?: string;
    readonly peers: readonly SwarmPeer[];
  }

  type Callback<T> = (error: Error | null, value?: T) => void;

  export interface TrackerSwarm {
    announce(params: AnnounceParams, callback: Callback<AnnounceResponse>): void;
  }

  /** What is read of a request. */
  export interface TrackerRequest {
    readonly url: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly connection: { readonly remoteAddress: string };
    /** Ours; the library carries it along. */
    readonly namedAddress?: string | undefined;
    /** Ours: of the token, once it was checked. */
    subject?: string | undefined;
  }

  export interface TrackerResponse {
    end(body?: Uint8Array | string): void;
  }

  export interface ServerOptions {
    readonly http: false;
    readonly udp: false;
    readonly ws: false;
    readonly stats: false;
    /** Milliseconds. */
    readonly interval: number;
    readonly filter: (infoHash: string, params: AnnounceParams, callback: (error?: Error) => void) => void;
  }

  export default class Server extends EventEmitter {
    constructor(options: ServerOptions);
    getSwarm(infoHash: string, callback: Callback<TrackerSwarm>): void;
    createSwarm(infoHash: string, callback: Callback<TrackerSwarm>): void;
    onHttpRequest(
      request: TrackerRequest,
      response: TrackerResponse,
      options: { readonly action: 'announce' },
    ): void;
    close(callback?: () => void): void;
  }
}
