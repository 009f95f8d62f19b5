import { QuayctlError } from '../base/errors.ts';

/** Bytes per second: a body that arrives more slowly is given up, since no image can be moved at that rate. */
const SLOWEST = 1024;
/** The time spent waiting for a body, in total, before its rate is judged. */
const PATIENCE_MS = 15_000;

/** A body that came too slowly: the next would hardly come faster. */
export class BodyTooSlow extends QuayctlError {
  constructor(url: URL, length: number, waitedMs: number) {
    const pace = `${length} bytes in ${Math.round(waitedMs / 1000)} s`;
    super('unreachable', `${url.host} sends too slowly: ${pace}`);
  }
}

/**
 * The chunks of a body, given up when they come too slowly, be it one byte at a time. Only waiting for the server counts,
 * not the time that a reader takes (`--download-rate`), nor the time before the first byte: a cache that fetches first
 * begins late, and the time-out of the request bounds that.
 * @throws BodyTooSlow, a QuayctlError `unreachable`
 */
export async function* withMinimumRate(
  body: AsyncIterable<Buffer>,
  url: URL,
  patienceMs = PATIENCE_MS,
): AsyncGenerator<Buffer> {
  let [waitedMs, length] = [0, 0];
  let since = Infinity;
  for await (const chunk of body) {
    waitedMs += Math.max(0, performance.now() - since);
    length += chunk.length;
    if (waitedMs > patienceMs && length < (SLOWEST * waitedMs) / 1000)
      throw new BodyTooSlow(url, length, waitedMs);
    yield chunk;
    since = performance.now();
  }
}
