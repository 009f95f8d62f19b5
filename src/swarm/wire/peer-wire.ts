import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import Wire from 'bittorrent-protocol';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import { ConnectionLimits } from './connection-limits.ts';
import { KeyExchange } from './key-exchange.ts';
import { BLOCK, MAX_BLOCK, MessageReader, type Filling } from './message-reader.ts';
import { SendBuffer } from './send-buffer.ts';

/** What stands behind the first byte of a handshake (BEP 3), bytes. */
const HANDSHAKE_BYTES = 67;
const EXTENDED_HANDSHAKE = 0;
const REQUEST = 6;
const PIECE = 7;
const CANCEL = 8;
const REJECT = 16;
/** Cheap, and as many as there are blocks; how many may wait is bounded elsewhere. */
const UNCOUNTED: readonly (number | undefined)[] = [REQUEST, CANCEL, REJECT];
/** `_encryptionMethod` of a connection whose payload is encrypted too. */
const RC4 = 2;
/** A number in the extended handshake (BEP 10): the longest block that may be asked for. Clients without it take 16 KiB. */
export const LONGEST_BLOCK = 'quayctl_block';
const DISCARD: Filling = { target: undefined };

/** What a connection tells of; everything else is an event of bittorrent-protocol's Wire. */
export interface PeerWireHandlers {
  readonly onBlock: (index: number, offset: number, length: number) => Filling;
  readonly onFilled: (index: number, offset: number, length: number, filling: Filling) => void;
  readonly onRequest: (index: number, offset: number, length: number) => void;
  readonly onCancel: (index: number, offset: number, length: number) => void;
  readonly onReject: (index: number, offset: number, length: number) => void;
}

/**
 * One connection with a peer. Handshakes (plain, encrypted, extended), extensions and the small messages are
 * bittorrent-protocol's; what carries blocks goes past its streams: in by MessageReader, out to the socket as it is.
 * Everything here that reaches into its private parts does so for one of these reasons:
 *  - its streams copy each byte three times and tell of each block by events, half of the processor time of a pull;
 *  - it takes messages of any length, lets exceptions of handlers end the process, and reads the extended handshake with
 *    a decoder that `l-3:` keeps busy for ever.
 */
export class PeerWire extends Wire {
  readonly incoming: boolean;
  readonly #socket: Socket;
  /** Once the handshake is over. */
  #reader: MessageReader | undefined;
  #handlers: PeerWireHandlers | undefined;
  #closed = false;
  readonly #sendBuffer: SendBuffer;
  #offence: string | undefined;
  readonly #limits: ConnectionLimits;
  /** Takes what comes before the wire protocol begins. */
  #onOpening: ((chunk: Uint8Array) => void) | undefined;
  #admittedTo: InfoHash | undefined;
  /** The end of what was received and waits for the limiter, and how many chunks that are. */
  #turn: Promise<void> = Promise.resolve();
  #waiting = 0;

  /**
   * @param encryption 0: none, 1: encrypted handshake, then plaintext where the other agrees, 2: RC4 or nothing
   * @param limiter of what is received
   */
  constructor(socket: Socket, direction: 'Incoming' | 'Outgoing', encryption: number, limiter: RateLimiter) {
    super(`tcp${direction}`, encryption);
    this.incoming = direction === 'Incoming';
    this.#socket = socket;
    this.#sendBuffer = new SendBuffer(socket);
    this.#limits = new ConnectionLimits(socket);
    if (this._encryptor !== null) this._encryptor._dh = new KeyExchange();
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#receive(chunk, limiter));
    socket.on('error', () => {});
    socket.on('end', () => this.destroy());
    socket.on('close', () => this.destroy());
  }

  /** Calls back when the connection is there, before anything is sent. */
  onceConnected(work: () => void): void {
    this.#socket.once('connect', work);
  }

  /** Calls back when TLS is there: the peer has proved to have the key of its certificate. */
  onceSecure(work: () => void): void {
    // The two names are of the dialling and of the accepting side.
    this.#socket.once(this.incoming ? 'secure' : 'secureConnect', work);
  }

  /** The connection with another node, for what TLS says of it. */
  get tls(): TLSSocket | undefined {
    return 'encrypted' in this.#socket ? (this.#socket as TLSSocket) : undefined;
  }

  /** What comes before the wire protocol goes to `read`, until the peer is admitted. */
  readOpening(read: (chunk: Uint8Array) => void): void {
    this.#onOpening = read;
  }

  /** The peer has shown that it may take part in this torrent: the wire protocol begins. */
  admit(infoHash: InfoHash): void {
    this.#onOpening = undefined;
    this.#admittedTo = infoHash;
  }

  /** The torrent, and the only one, in which the peer has shown that it may take part. */
  get admittedTo(): InfoHash | undefined {
    return this.#admittedTo;
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }

  /** What the peer did that no client does, for people; the connection ended with it. */
  get offence(): string | undefined {
    return this.#offence;
  }

  /** The payload is encrypted, not the handshake alone. */
  get isEncrypted(): boolean {
    return this.tls !== undefined || this._encryptionMethod === RC4;
  }

  override get destroyed(): boolean {
    return this.#closed;
  }

  /** What may be asked for at once, bytes. */
  get longestBlock(): number {
    const longest = this.peerExtendedHandshake[LONGEST_BLOCK];
    if (typeof longest !== 'number' || !(longest > BLOCK)) return BLOCK;
    return Math.min(longest - (longest % BLOCK), MAX_BLOCK);
  }

  /** Bytes that have been given to the connection and that the peer has not taken yet. */
  get unsent(): number {
    return this.#sendBuffer.unsent;
  }

  /** From now on blocks and requests are told to these; before that there are none. */
  handle(handlers: PeerWireHandlers): void {
    this.#handlers = handlers;
  }

  /** BEP 3 `request`. */
  sendRequest(index: number, offset: number, length: number): void {
    this._message(REQUEST, [index, offset, length], null);
  }

  /** BEP 3 `cancel`. */
  sendCancel(index: number, offset: number, length: number): void {
    this._message(CANCEL, [index, offset, length], null);
  }

  /** BEP 3 `piece`. @param onSent the bytes are no longer needed: they are sent, or never will be */
  sendPiece(index: number, offset: number, block: Uint8Array, onSent: () => void): void {
    this._message(PIECE, [index, offset], null, block.length);
    const bytes = this._encryptor?.encrypt(block) ?? block;
    if (this.#closed) return onSent();
    this.#sendBuffer.write(bytes, onSent);
  }

  /** Waits until most of what was given is sent, or the connection is over. */
  drained(): Promise<void> {
    return this.#sendBuffer.drained();
  }

  override push(bytes: Uint8Array | null): boolean {
    if (bytes === null || this.#closed) return false;
    if (!this.#sendBuffer.isOverfull) return this.#sendBuffer.write(bytes);
    this.destroy();
    return false;
  }

  override end(): this {
    return this.destroy();
  }

  override destroy(): this {
    if (this.#closed) return this;
    this.#closed = true;
    this._finished = true;
    this.setKeepAlive(false);
    this.#reader?.end();
    this._buffer = [];
    this._bufferSize = 0;
    this._parse(Number.MAX_SAFE_INTEGER, () => {});
    this.#socket.destroy();
    this.emit('close');
    return this;
  }

  /** It does what no client does. @param what for people */
  reportViolation(what: string): void {
    this.#offence ??= what;
    this.destroy();
  }

  /** Once in a while (bittorrent-protocol's clock): a moment to look whether the other side is alive, too. */
  override keepAlive(): void {
    if (this.#limits.isAlive()) super.keepAlive();
    else this.destroy();
  }

  #receive(chunk: Uint8Array, limiter: RateLimiter): void {
    this.#limits.heard();
    // The rate may have been another one a moment ago: who waits for it goes first.
    if (this.#waiting === 0 && limiter.bytesPerSecond === 0) return this.#read(chunk);
    this.#socket.pause();
    this.#waiting++;
    // TLS hands over what it has deciphered even after a pause, and the limiter keeps no order between its timers.
    this.#turn = this.#turn.then(async () => {
      await limiter.take(chunk.length);
      this.#read(chunk);
      if (--this.#waiting === 0) this.#socket.resume();
    });
  }

  /** @param chunk is written over after this returns */
  receiveShared(chunk: Uint8Array, limiter: RateLimiter): void {
    // The reader copies what it keeps. bittorrent-protocol, which reads the handshake, does not; and who waits keeps it.
    const isAtOnce = this.#waiting === 0 && limiter.bytesPerSecond === 0;
    const isCopied = this.#reader !== undefined && isAtOnce;
    this.#receive(isCopied ? chunk : Buffer.from(chunk), limiter);
  }

  #read(chunk: Uint8Array): void {
    if (this.#closed) return;
    if (this.#onOpening !== undefined) this.#onOpening(chunk);
    // Over TLS nothing is read before the peer is admitted.
    else if (this.tls !== undefined && this.#admittedTo === undefined) this.destroy();
    else if (this.#reader === undefined) this.#guarded(() => this._write(chunk, () => {}));
    else this.#reader.read(this._encryptor?.decrypt(chunk) ?? chunk);
  }

  /** @param follows bytes of the payload that the caller sends itself */
  override _message(id: number, numbers: number[], payload: Uint8Array | null, follows = 0): void {
    const message = new Uint8Array(5 + 4 * numbers.length + (payload?.length ?? 0));
    const view = new DataView(message.buffer);
    view.setUint32(0, message.length - 4 + follows);
    message[4] = id;
    numbers.forEach((value, at) => view.setUint32(5 + 4 * at, value));
    if (payload !== null) message.set(payload, 5 + 4 * numbers.length);
    this.push(this._encryptor?.encrypt(message) ?? message);
  }

  override _onHandshakeBuffer(handshake: Uint8Array): void {
    // The library goes on with bytes of a connection that ended; and a second handshake is none.
    if (this.#closed || this.#reader !== undefined) return;
    if (handshake.length < HANDSHAKE_BYTES) return this.reportViolation('a handshake that is too short');
    // Where it came within the encrypted handshake, more may stand behind it.
    const rest = handshake.subarray(HANDSHAKE_BYTES);
    if (rest.length > 0) this._buffer = [Buffer.concat([rest, ...this._buffer])];
    this._bufferSize += rest.length;
    super._onHandshakeBuffer(handshake.subarray(0, HANDSHAKE_BYTES));
    // What lies behind the handshake is left where it is: `_processBuffer` gives it to the reader.
    this._parse(Number.MAX_SAFE_INTEGER, () => {});
    this.#reader = new MessageReader({
      onBlock: (index, offset, length) => this.#handlers?.onBlock(index, offset, length) ?? DISCARD,
      onFilled: (index, offset, length, filling) => this.#handlers?.onFilled(index, offset, length, filling),
      onMessage: (message) => this.#message(message),
      onTooLong: () => this.reportViolation('a message that is too long'),
    });
  }

  override _processBuffer(): void {
    super._processBuffer();
    if (this.#reader === undefined || this.#closed) return;
    const rest = this._buffer;
    this._buffer = [];
    this._bufferSize = 0;
    for (const bytes of rest) this.#reader.read(bytes);
  }

  #message(message: Uint8Array): void {
    if (!UNCOUNTED.includes(message[0]) && !this.#limits.takesMessage())
      return this.reportViolation('a flood of messages');
    this.#guarded(() => this._onMessage(message));
  }

  #guarded(read: () => void): void {
    try {
      read();
    } catch {
      this.reportViolation('a message that cannot be read');
    }
  }

  /** Said again it is no news, and would count as a sign of life. */
  override _onChoke(): void {
    if (!this.peerChoking) super._onChoke();
  }

  override _onUnchoke(): void {
    if (this.peerChoking) super._onUnchoke();
  }

  override _onExtended(id: number, payload: Uint8Array): void {
    if (id !== EXTENDED_HANDSHAKE || this.#limits.takesExtendedHandshake(payload))
      super._onExtended(id, payload);
  }

  override _onRequest(index: number, offset: number, length: number): void {
    if (!this.amChoking) this.#handlers?.onRequest(index, offset, length);
    else if (this.hasFast) this.reject(index, offset, length);
  }

  override _onCancel(index: number, offset: number, length: number): void {
    this.#handlers?.onCancel(index, offset, length);
  }

  override _onReject(index: number, offset: number, length: number): void {
    this.#handlers?.onReject(index, offset, length);
  }
}
