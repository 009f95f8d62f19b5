import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { DockerClient } from './client.ts';
import type { ApiEndpoint } from './endpoint.ts';
import { isLost } from './failures.ts';

/** How long a daemon that went away during a load may take to come back. A restart takes some seconds. */
const COMEBACK_MS = 15_000;
const POLL_MS = 250;
/** A daemon that is ending may still answer a ping, so one more try can meet its end once more. */
const MAX_COMEBACKS = 5;
/** A starting daemon accepts connections before it answers. Milliseconds. */
const PING_MS = 2000;

/** Waits for a daemon that was restarted in the middle of a piece of work, some times over. */
export class Comebacks {
  readonly #client: DockerClient;
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(client: DockerClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  /**
   * Resolves once the daemon answers again.
   * @param error why the work failed
   * @throws that error where the daemon has not gone away; QuayctlError `engine` when it does not come back
   */
  async after(error: unknown): Promise<void> {
    if (this.#signal.aborted || isQuayctlError(error) || !isLost(error) || this.#count === MAX_COMEBACKS)
      throw error;
    const end = performance.now() + COMEBACK_MS;
    let pause = POLL_MS * 2 ** this.#count++;
    do {
      await sleep(pause, undefined, { signal: this.#signal });
      pause = POLL_MS;
      try {
        await this.#client.ping(AbortSignal.any([this.#signal, AbortSignal.timeout(PING_MS)]));
        return;
      } catch {
        // Not back yet.
      }
    } while (performance.now() < end);
    throw new QuayctlError('engine', `the engine went away and was not back within ${COMEBACK_MS / 1000} s`, {
      cause: error,
      hint: 'look into its log for the reason, then pull the image again',
    });
  }
}

/**
 * Whether a failed first contact looks like an engine that is being restarted, and not like one that does not run: the
 * connection broke in the middle, no process listens at a socket that is still there (a crash leaves it), or the socket
 * was removed moments ago.
 */
export async function isRestarting(error: unknown, endpoint: ApiEndpoint): Promise<boolean> {
  if (!isLost(error)) return false;
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code !== 'ENOENT' && code !== 'ECONNREFUSED') return true;
  if (endpoint.kind !== 'socket') return false;
  if (code === 'ECONNREFUSED') return true;
  try {
    const { mtimeMs } = await stat(dirname(endpoint.path));
    return Date.now() - mtimeMs < COMEBACK_MS;
  } catch {
    return false;
  }
}

/** Does the work once more whenever the daemon was restarted in the middle of it. @throws as the work and `Comebacks` */
export async function survivingRestarts<T>(
  client: DockerClient,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const comebacks = new Comebacks(client, signal);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await comebacks.after(error);
    }
  }
}
