import type { Socket } from 'node:net';
import { TokenBucket } from '../../base/token-bucket.ts';
import { decodeLooseBencode } from '../../metainfo/bencode.ts';

/** A connection on which nothing is heard for this long is ended. BEP 3 asks for a keep-alive every two minutes. */
const MAX_SILENCE_MS = 150_000;
/**
 * Messages of one peer besides requests, per second and at once. Clients that announce each of their pieces send
 * fewer. A peer that passes it is banned.
 */
const MESSAGE_LIMIT = { perSecond: 2000, burst: 10_000 };
/** The length of an extended handshake (BEP 10), bytes. */
const MAX_EXTENDED_HANDSHAKE = 16 * 1024;
/** Extended handshakes of one peer. bittorrent-protocol keeps the extension names of all of them. */
const MAX_EXTENDED_HANDSHAKES = 8;

/** What one connection may cost: how long it may be silent, how much it may make this node read and think. */
export class ConnectionLimits {
  readonly #socket: Socket;
  #heardAt = performance.now();
  /** Bytes that the peer had taken at the last look. */
  #taken = 0;
  readonly #messages = new TokenBucket(MESSAGE_LIMIT);
  #extendedHandshakes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes came. */
  heard(): void {
    this.#heardAt = performance.now();
  }

  /** Called once a minute. @returns false: the peer says nothing, or has taken nothing of what waits for it */
  isAlive(): boolean {
    const { bytesWritten, writableLength } = this.#socket;
    const taken = bytesWritten - writableLength;
    const isStuck = writableLength > 0 && taken === this.#taken;
    this.#taken = taken;
    return !isStuck && performance.now() - this.#heardAt < MAX_SILENCE_MS;
  }

  /** A message came. @returns false: it is one more than any client sends */
  takesMessage(): boolean {
    return this.#messages.tryTake();
  }

  /** Whether bittorrent-protocol may see this extended handshake: `l-3:` keeps its decoder busy for ever. */
  takesExtendedHandshake(payload: Uint8Array): boolean {
    if (payload.length > MAX_EXTENDED_HANDSHAKE) return false;
    if (++this.#extendedHandshakes > MAX_EXTENDED_HANDSHAKES) return false;
    try {
      decodeLooseBencode(payload);
      return true;
    } catch {
      return false;
    }
  }
}
