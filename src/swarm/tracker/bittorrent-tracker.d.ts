/** What we use of bittorrent-tracker 11.2.3, which ships no types. */
declare module 'bittorrent-tracker' {
  import type { EventEmitter } from 'node:events';
  import type { Server as HttpServer } from 'node:http';
  import type { Socket } from 'node:dgram';

  export interface AnnounceFields {
    event?: string;
    uploaded?: number;
    downloaded?: number;
    left?: number;
    numwant?: number;
  }

  export class Client extends EventEmitter {
    constructor(options: { infoHash: string; peerId: string; port: number; announce: string[]; wrtc: false });
    start(fields: AnnounceFields): void;
    stop(fields: AnnounceFields): void;
    complete(fields: AnnounceFields): void;
    update(fields: AnnounceFields): void;
    destroy(done?: () => void): void;
  }

  export class Server extends EventEmitter {
    constructor(options: {
      http?: boolean;
      udp?: boolean;
      ws?: boolean;
      stats?: boolean;
      interval?: number;
      filter?: (
        infoHash: string,
        params: Record<string, unknown>,
        done: (refusal: Error | null) => void,
      ) => void;
    });
    readonly http: HttpServer;
    readonly udp: Socket;
    listen(port: number, onListening: () => void): void;
    listen(port: number, host: string, onListening: () => void): void;
    close(done?: () => void): void;
  }
}
