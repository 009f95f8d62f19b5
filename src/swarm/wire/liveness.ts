import type { Socket } from 'node:net';

/** Nothing was heard, not even what keeps a connection alive (BEP 3: two minutes). Milliseconds. */
const MAX_SILENCE_MS = 150_000;

/** Whether there still is somebody at the other end. */
export class Liveness {
  readonly #socket: Socket;
  #heardAt = performance.now();
  /** Bytes that the peer had taken at the last look. */
  #taken = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  heard(): void {
    this.#heardAt = performance.now();
  }

  /** Looked at once a minute: it says nothing, or has taken nothing of what waits for it. */
  look(): boolean {
    const { bytesWritten, writableLength } = this.#socket;
    const taken = bytesWritten - writableLength;
    const isStuck = writableLength > 0 && taken === this.#taken;
    this.#taken = taken;
    return !isStuck && performance.now() - this.#heardAt < MAX_SILENCE_MS;
  }
}
