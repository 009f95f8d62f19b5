import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 20;

/** Bytes of blobs, whole and partial, that a store has on its disk. */
export async function bytesInStore(store: string): Promise<number> {
  const folders = [join(store, 'blobs/sha256'), join(store, 'quayctl/partial')];
  const names = await Promise.all(
    folders.map(async (folder) => {
      const found = await readdir(folder).catch(() => []);
      return found.filter((each) => !each.endsWith('.spans')).map((each) => join(folder, each));
    }),
  );
  // Sparse while they are partial: stat(2) counts blocks of 512 bytes.
  const sizes = names.flat().map((path) =>
    stat(path).then(
      (entry) => entry.blocks * 512,
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, 0);
}

/** Watches a pull by what comes into its store. */
export class ProgressWatch {
  readonly #store: string;
  readonly #size: number;
  readonly #watching: Promise<void>;
  #bytes = 0;
  #longestMs = 0;
  #isOver = false;

  /** @param size of the image, bytes */
  constructor(store: string, size: number) {
    this.#store = store;
    this.#size = size;
    this.#watching = this.#watch();
  }

  /** Waits until so much of the image is there, 0 to 1, or the watch has ended. */
  async reached(share: number): Promise<void> {
    while (this.#bytes < share * this.#size && !this.#isOver) await sleep(LOOK_MS);
  }

  /** @returns the longest stall, milliseconds: no byte in the whole pull, after the first and before the last */
  async end(): Promise<number> {
    this.#isOver = true;
    await this.#watching;
    return this.#longestMs;
  }

  async #watch(): Promise<void> {
    let since = performance.now();
    while (!this.#isOver) {
      const now = await bytesInStore(this.#store);
      if (now > this.#bytes || now === 0 || now >= this.#size) {
        this.#bytes = Math.max(this.#bytes, now);
        since = performance.now();
      }
      this.#longestMs = Math.max(this.#longestMs, performance.now() - since);
      await sleep(LOOK_MS);
    }
  }
}
