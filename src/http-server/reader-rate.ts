import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Bytes per second that a client must accept of an answer; it is what a server must give quayctl, too. */
const SLOWEST = 1024;
const CHECK_MS = 5000;

interface Reading {
  readonly flushed: number;
  /** Milliseconds on the clock of performance.now. */
  readonly since: number;
}

/**
 * Ends connections whose clients take their answers too slowly: each holds a place, memory, and often a connection to the
 * upstream. Only time in which bytes wait for the client counts.
 */
export class ReaderRate {
  readonly #patienceMs: number;
  readonly #readings = new Map<ServerResponse, Reading | undefined>();
  readonly #timer: NodeJS.Timeout;

  /** @param patienceMs for which a client may take fewer bytes; bytes are seen to be taken by the chunk, of 64 KiB */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
    this.#timer = setInterval(() => this.#check(), Math.min(CHECK_MS, patienceMs / 4)).unref();
  }

  watch(response: ServerResponse): void {
    this.#readings.set(response, undefined);
  }

  forget(response: ServerResponse): void {
    this.#readings.delete(response);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #check(): void {
    const now = performance.now();
    for (const [response, before] of this.#readings) {
      const { socket } = response;
      if (socket === null || response.writableLength === 0) {
        this.#readings.set(response, undefined);
        continue;
      }
      const flushed = flushedBytes(socket);
      const waitedMs = before === undefined ? 0 : now - before.since;
      const isFast = before === undefined || flushed - before.flushed >= (SLOWEST * waitedMs) / 1000;
      if (isFast) this.#readings.set(response, { flushed, since: now });
      else if (waitedMs > this.#patienceMs) socket.destroy();
    }
  }
}

/** `bytesWritten` counts what waits in memory, too. */
function flushedBytes(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}
