import { QuayctlError } from '../base/errors.ts';

/** A link that is slower moves no image; a server that is slower holds us for as long as it likes. Bytes a second. */
const SLOWEST = 1024;
/** Waited for bytes for so long in all, a body must have kept that pace. Milliseconds. */
const PATIENCE_MS = 15_000;

/** A body that came too slowly: the next would hardly come faster. */
export class BodyTooSlow extends QuayctlError {
  constructor(url: URL, length: number, waitedMs: number) {
    const pace = `${length} bytes in ${Math.round(waitedMs / 1000)} s`;
    super('unreachable', `${url.host} sends too slowly: ${pace}`);
  }
}

/**
 * The chunks of a body, given up when they come too slowly, be it one byte at a time. Only waiting counts: whoever
 * reads may take his time (`--download-rate`).
 * @throws BodyTooSlow, a QuayctlError `unreachable`
 */
export async function* withMinimumRate(
  body: AsyncIterable<Buffer>,
  url: URL,
  patienceMs = PATIENCE_MS,
): AsyncGenerator<Buffer> {
  let [waitedMs, length] = [0, 0];
  let since = performance.now();
  for await (const chunk of body) {
    waitedMs += performance.now() - since;
    length += chunk.length;
    if (waitedMs > patienceMs && length < (SLOWEST * waitedMs) / 1000)
      throw new BodyTooSlow(url, length, waitedMs);
    yield chunk;
    since = performance.now();
  }
}
