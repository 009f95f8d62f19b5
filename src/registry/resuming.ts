import { QuayctlError } from '../base/errors.ts';
import { dropBody } from '../http/http.ts';
import { isPassing, networkError } from '../http/network-error.ts';
import { delay } from '../base/retry.ts';
import { withMinimumRate } from '../http/minimum-rate.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { bodyOf, type BlobBody } from './blob-body.ts';
import type { LocatedResponse, RegistryRequest } from './requester.ts';

/** Broken transfers in a row before a blob is given up, ... */
const MAX_FRUITLESS = 5;
/** ... where none brought so many bytes: a server that sends one at a time gets nowhere. */
const MIN_PROGRESS = 16 * 1024;
/** ... or where they took so long, after a second try: a registry that only restarts is back by then. */
const FRUITLESS_MS = 15_000;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 4_000;
/** A place that does not begin to answer by then is left for another try. */
const HEADERS_TIMEOUT_MS = 15_000;
export interface ResumingOptions {
  /** For errors: `blob sha256:... of team/app`. */
  readonly what: string;
  /** One ranged request; where it is sent is the caller's to say. */
  readonly open: (request: RegistryRequest) => Promise<LocatedResponse>;
  /** A transfer broke off; it is begun again where it ended. */
  readonly onBroken?: () => void;
  readonly signal: AbortSignal;
}

/**
 * Bytes `start` to `end` of content whose size is known, by range, in order; resumes where a transfer broke.
 * @throws what `open` throws; `unreachable` when it breaks off again and again, `protocol`, `verification`
 */
export async function* readResuming(
  blob: Descriptor,
  { start, end }: { readonly start: number; readonly end: number },
  options: ResumingOptions,
): AsyncGenerator<Uint8Array> {
  const { signal, onBroken } = options;
  let at = start;
  let fruitless = 0;
  let fruitlessSince = 0;
  while (at < end) {
    signal.throwIfAborted();
    const began = at;
    if (fruitless === 0) fruitlessSince = performance.now();
    try {
      for await (const chunk of range(blob, at, end, options)) {
        at += chunk.length;
        yield chunk;
      }
    } catch (error) {
      signal.throwIfAborted();
      onBroken?.();
      fruitless = at - began < MIN_PROGRESS ? fruitless + 1 : 0;
      const isOver = fruitless > 1 && performance.now() - fruitlessSince > FRUITLESS_MS;
      if (!isPassing(error) || fruitless >= MAX_FRUITLESS || isOver) throw error;
      await delay(Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, fruitless - 1)), signal);
    }
  }
}

async function* range(
  blob: Descriptor,
  start: number,
  end: number,
  { what, open, signal }: ResumingOptions,
): AsyncGenerator<Uint8Array> {
  const whole = start === 0 && end === blob.size;
  const { answer, url } = await open({
    // Another encoding would be other bytes than those that the digest is of.
    headers: { 'accept-encoding': 'identity', ...(whole ? {} : { range: `bytes=${start}-${end - 1}` }) },
    what,
    headersTimeoutMs: HEADERS_TIMEOUT_MS,
    signal,
  });
  let body: BlobBody;
  try {
    body = bodyOf(answer, blob, start, end, url);
  } catch (error) {
    dropBody(answer);
    throw error;
  }
  yield* useful(body, url, signal);
}

/** What of a body was asked for. @throws QuayctlError `unreachable` where it breaks off, `protocol` where it goes on */
async function* useful(body: BlobBody, url: URL, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let { skip, length: left } = body;
  try {
    for await (const chunk of withMinimumRate(body.answer.body, url)) {
      if (left === 0) throw new QuayctlError('protocol', `${url.host} sends more than was asked for`);
      const part = chunk.subarray(skip, skip + left);
      const surplus = chunk.length - skip - part.length;
      skip -= Math.min(skip, chunk.length);
      left -= part.length;
      if (part.length > 0) yield part;
      if (left > 0 || body.goesOn) {
        if (left === 0) break;
      } else if (surplus > 0) throw new QuayctlError('protocol', `${url.host} sends more than was asked for`);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkError(url, error);
  }
  if (left > 0) throw new QuayctlError('unreachable', `${url.host} ended a transfer ${left} bytes too early`);
}
