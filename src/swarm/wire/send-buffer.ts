import type { Socket } from 'node:net';

/** Bytes that wait for one peer. A peer that reads nothing is disconnected beyond them. */
const MAX_UNSENT = 1024 * 1024;

/** What goes out on a connection. All that is written in one turn of the event loop goes in one system call. */
export class SendBuffer {
  readonly #socket: Socket;
  #corked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that have been given to the connection and that the peer has not taken yet. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  get isOverfull(): boolean {
    return this.unsent > MAX_UNSENT;
  }

  /** @param onSent the bytes are no longer needed: they are sent, or never will be */
  write(bytes: Uint8Array, onSent?: () => void): boolean {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      queueMicrotask(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    return this.#socket.write(bytes, onSent);
  }

  /** Waits until most of what was given is sent, or the connection is over. */
  async drained(): Promise<void> {
    const socket = this.#socket;
    if (!socket.writableNeedDrain || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        socket.off('drain', done);
        socket.off('close', done);
        resolve();
      };
      socket.on('drain', done);
      socket.on('close', done);
    });
  }
}
