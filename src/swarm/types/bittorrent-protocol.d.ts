/** What we use of bittorrent-protocol 5.0.9, which ships no types. */
declare module 'bittorrent-protocol' {
  import type { EventEmitter } from 'node:events';

  export interface WireRequest {
    readonly piece: number;
    readonly offset: number;
    readonly length: number;
  }

  /** A message extension (BEP 10); `name` stands on the prototype. */
  export interface Extension {
    onHandshake?(infoHash: string, peerId: string): void;
    onExtendedHandshake?(handshake: Record<string, unknown>): void;
    onMessage?(payload: Uint8Array): void;
  }

  export default class Wire extends EventEmitter {
    constructor(type?: string, encryption?: number);
    readonly peerId: string | null;
    readonly type: string;
    readonly destroyed: boolean;
    readonly amChoking: boolean;
    readonly amInterested: boolean;
    readonly peerChoking: boolean;
    readonly hasFast: boolean;
    readonly peerPieces: { get(index: number): boolean };
    readonly requests: WireRequest[];
    readonly peerRequests: WireRequest[];
    readonly extendedMapping: Record<string, string>;
    readonly extendedHandshake: Record<string, unknown>;
    readonly peerExtendedHandshake: Record<string, unknown>;
    readonly peerExtendedMapping: Record<string, number>;
    remoteAddress?: string;
    remotePort?: number;
    downloaded: number;
    downloadSpeed: (bytes?: number) => number;
    handshake(infoHash: string, peerId: string, extensions?: { fast?: boolean; dht?: boolean }): void;
    haveAll(): void;
    haveNone(): void;
    have(index: number): void;
    bitfield(bits: Uint8Array): void;
    choke(): void;
    unchoke(): void;
    interested(): void;
    request(
      index: number,
      offset: number,
      length: number,
      done: (error: Error | null, bytes?: Uint8Array) => void,
    ): void;
    cancel(index: number, offset: number, length: number): void;
    use(extension: new (wire: Wire) => Extension): void;
    extended(name: string | number, payload: Uint8Array | object): void;
    setKeepAlive(enable: boolean): void;
    setTimeout(ms: number, unref?: boolean): void;
    destroy(): void;
    /** 1 plaintext, 2 RC4, null or undefined without the encrypted handshake. */
    readonly _encryptionMethod: number | null | undefined;
    readonly _ext: Record<string, Extension>;
    readonly _readableState: { readonly buffered: number };
    _onMessageLength: (this: Wire, header: Uint8Array) => void;
    _onMessage: (this: Wire, message: Uint8Array) => void;
    _onExtended: (this: Wire, id: number, payload: Uint8Array) => void;
    _onHave(index: number): void;
    _onPiece(index: number, offset: number, block: Uint8Array): void;
  }
}
