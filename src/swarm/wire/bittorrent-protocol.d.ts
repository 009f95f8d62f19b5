/** What we use of bittorrent-protocol 5.0.9, which ships no types. Names with an underscore are used in peer-wire.ts only. */
declare module 'bittorrent-protocol' {
  import type { EventEmitter } from 'node:events';

  /** A message extension (BEP 10); `name` stands on the prototype. */
  export interface Extension {
    onHandshake?(infoHash: string, peerId: string): void;
    onExtendedHandshake?(handshake: Record<string, unknown>): void;
    onMessage?(payload: Uint8Array): void;
  }

  /** What the encrypted handshake wants of a Diffie-Hellman exchange. */
  interface KeyExchange {
    generateKeys(): Uint8Array;
    computeSecret(theirs: Uint8Array): Uint8Array;
  }

  interface Encryptor {
    _dh: KeyExchange | null;
    encrypt(bytes: Uint8Array): Uint8Array;
    decrypt(bytes: Uint8Array): Uint8Array;
  }

  type Parser = (this: Wire, bytes: Uint8Array) => void;

  export default class Wire extends EventEmitter {
    /** @param encryption 0: none, 1: encrypted handshake, then plaintext where the other agrees, 2: RC4 or nothing */
    constructor(type?: string, encryption?: number);
    readonly peerId: string | null;
    readonly type: string;
    get destroyed(): boolean;
    readonly amChoking: boolean;
    readonly amInterested: boolean;
    readonly peerChoking: boolean;
    readonly peerInterested: boolean;
    readonly hasFast: boolean;
    readonly peerExtensions: { readonly extended?: boolean; readonly fast?: boolean };
    /** `buffer` is empty where the peer has all. */
    readonly peerPieces: { readonly buffer: Uint8Array; get(index: number): boolean };
    readonly extendedMapping: Record<string, string>;
    extendedHandshake: Record<string, unknown>;
    readonly peerExtendedHandshake: Record<string, unknown>;
    readonly peerExtendedMapping: Record<string, number>;
    startEncryption(infoHash: string): void;
    /** The answer to `crypto-infohash`. */
    setInfoHash(infoHash: string): void;
    handshake(infoHash: string, peerId: string, extensions?: { fast?: boolean; dht?: boolean }): void;
    haveAll(): void;
    haveNone(): void;
    have(index: number): void;
    bitfield(bits: Uint8Array): void;
    choke(): void;
    unchoke(): void;
    interested(): void;
    uninterested(): void;
    reject(index: number, offset: number, length: number): void;
    use(extension: new (wire: Wire) => Extension): void;
    extended(name: string | number, payload: Uint8Array | object): void;
    setKeepAlive(enable: boolean): void;
    keepAlive(): void;
    push(bytes: Uint8Array | null): boolean;
    end(): this;
    destroy(): this;
    _finished: boolean;
    _buffer: Uint8Array[];
    _bufferSize: number;
    _parserSize: number;
    readonly _encryptor: Encryptor | null;
    /** 1 plaintext, 2 RC4, null or undefined without the encrypted handshake. */
    get _encryptionMethod(): number | null | undefined;
    _message(id: number, numbers: number[], payload: Uint8Array | null): void;
    _write(bytes: Uint8Array, done: () => void): void;
    _processBuffer(): void;
    _parse(size: number, parser: Parser): void;
    _onHandshakeBuffer(handshake: Uint8Array): void;
    _onMessage(message: Uint8Array): void;
    _onExtended(id: number, payload: Uint8Array): void;
    _onHave(index: number): void;
    _onRequest(index: number, offset: number, length: number): void;
    _onCancel(index: number, offset: number, length: number): void;
    _onReject(index: number, offset: number, length: number): void;
    _onChoke(): void;
    _onUnchoke(): void;
    _onBitField(bits: Uint8Array): void;
  }
}
