import { setTimeout as sleep } from 'node:timers/promises';
import { QuayctlError } from '../../base/errors.ts';
import type { DockerClient } from './client.ts';

/** How long a daemon that went away may take to come back: a restart takes some seconds. Milliseconds. */
const COMEBACK_MS = 15_000;
const POLL_MS = 250;
/** A starting daemon accepts connections before it answers. Milliseconds. */
const PING_MS = 2000;

/** Waits until the daemon answers again. @throws QuayctlError `engine` when it does not */
export async function comeback(client: DockerClient, lost: unknown, signal: AbortSignal): Promise<void> {
  const end = performance.now() + COMEBACK_MS;
  while (performance.now() < end) {
    try {
      await client.ping(AbortSignal.any([signal, AbortSignal.timeout(PING_MS)]));
      return;
    } catch {
      await sleep(POLL_MS, undefined, { signal });
    }
  }
  throw new QuayctlError('engine', `Docker went away and was not back within ${COMEBACK_MS / 1000} s`, {
    cause: lost,
    hint: 'why it ended: sudo journalctl -u docker; then pull the image again',
  });
}
