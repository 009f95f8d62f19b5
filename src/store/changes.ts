import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { StorePaths } from './paths.ts';

/** Where events do not come (network file systems, no watches left): how often the store is looked at. */
const POLL_MS = 5_000;
/** A pull commits many blobs in a row; they are told as one change. */
const SETTLE_MS = 250;

/** A text that differs after every change of `blobs/` or index.json. */
export async function fingerprint(paths: StorePaths): Promise<string> {
  const marks = [paths.blobs, paths.index].map(async (path) => {
    const { mtimeNs, size, ino } = await stat(path, { bigint: true });
    return `${mtimeNs} ${size} ${ino}`;
  });
  return (await Promise.allSettled(marks))
    .map((mark) => (mark.status === 'fulfilled' ? mark.value : '-'))
    .join('|');
}

/** Yields after blobs or images were added or removed since `before`, by whatever process; ends with the signal. */
export async function* watchChanges(
  paths: StorePaths,
  before: string,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const bell = new Bell(signal);
  const watchers = [paths.blobs, paths.root].map((path) => watchQuietly(path, () => bell.ring()));
  const poll = setInterval(() => bell.ring(), POLL_MS);
  try {
    let known = before;
    for (let now = await fingerprint(paths); !signal.aborted; now = await fingerprint(paths)) {
      if (now !== known) {
        known = now;
        yield;
      } else {
        await bell.rung();
        await bell.settled(SETTLE_MS);
      }
    }
  } finally {
    clearInterval(poll);
    for (const watcher of watchers) watcher?.close();
  }
}

/** Undefined where the kernel gives none; polling does it then. */
function watchQuietly(path: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(path, onEvent);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

class Bell {
  readonly #signal: AbortSignal;
  #wake = Promise.withResolvers<void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.ring(), { once: true });
  }

  ring(): void {
    this.#wake.resolve();
  }

  async rung(): Promise<void> {
    if (this.#signal.aborted) return;
    await this.#wake.promise;
    this.#wake = Promise.withResolvers<void>();
  }

  async settled(ms: number): Promise<void> {
    if (this.#signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#signal.addEventListener('abort', done, { once: true });
    });
  }
}
