import { Readable } from 'node:stream';
import { delay } from '../base/retry.ts';
import { QuayctlError } from '../base/errors.ts';
import { decoderOf } from '../http/content-encoding.ts';
import { dropBody } from '../http/http.ts';
import { withMinimumRate } from '../http/minimum-rate.ts';
import { isPassing, networkError } from '../http/network-error.ts';
import type { LocatedResponse } from '../http/redirect.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { bodyOf, type BlobBody, type BlobRange } from './blob-body.ts';
import type { RegistryRequest } from './requester.ts';

/** Broken transfers in a row after which a blob is given up, ... */
const MAX_FRUITLESS = 5;
/** A transfer with fewer bytes than this counts as broken, so that a server that sends one at a time gets nowhere. */
const MIN_PROGRESS = 16 * 1024;
/**
 * ... or after which it is given up when they took this long, from the second try on. A registry that only restarts
 * is back by then.
 */
const FRUITLESS_MS = 15_000;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 4_000;

/** How long a registry may take, milliseconds. */
export interface Patience {
  /** Until the answer begins. */
  readonly headersTimeoutMs: number;
  /** Without a byte of the body. */
  readonly stallTimeoutMs: number;
}

/**
 * Timeouts for a registry while peers have the bytes as well: the request is tried again later, and peers deliver
 * meanwhile.
 */
export const BESIDE_PEERS: Patience = { headersTimeoutMs: 15_000, stallTimeoutMs: 10_000 };

/**
 * Timeouts where the registry is the only source. A cache that copies a whole image before its first byte (zot,
 * Nexus) takes minutes, and begins anew when its client leaves too early.
 */
export const ONLY_SOURCE: Patience = { headersTimeoutMs: 15 * 60_000, stallTimeoutMs: 2 * 60_000 };

export interface ResumingOptions {
  /** For errors: `blob sha256:... of team/app`. */
  readonly what: string;
  /** Sends one request; where it is sent is the caller's to decide. */
  readonly open: (request: RegistryRequest) => Promise<LocatedResponse>;
  /** A transfer broke off; it is begun again where it ended. */
  readonly onBroken?: () => void;
  /** Broken transfers in a row after which it is given up; by default MAX_FRUITLESS, or fewer that take long. */
  readonly attempts?: number | undefined;
  /** ONLY_SOURCE where nothing is said. */
  readonly patience?: Patience | undefined;
  readonly signal: AbortSignal;
}

/**
 * A range of content whose size is known, in order; resumes where a transfer broke off.
 * @throws what `open` throws; `unreachable` when it breaks off again and again, `protocol`, `verification`
 */
export async function* readResuming(
  blob: Descriptor,
  { start, end }: BlobRange,
  options: ResumingOptions,
): AsyncGenerator<Uint8Array> {
  const { signal, onBroken, attempts } = options;
  let at = start;
  let fruitless = 0;
  let fruitlessSince = 0;
  while (at < end) {
    signal.throwIfAborted();
    const began = at;
    if (fruitless === 0) fruitlessSince = performance.now();
    try {
      for await (const chunk of rangeOf(blob, { start: at, end }, options)) {
        at += chunk.length;
        yield chunk;
      }
    } catch (error) {
      signal.throwIfAborted();
      onBroken?.();
      fruitless = at - began < MIN_PROGRESS ? fruitless + 1 : 0;
      // Who says how often it is to be tried wants no other bound.
      const isOver =
        attempts === undefined && fruitless > 1 && performance.now() - fruitlessSince > FRUITLESS_MS;
      if (!isPassing(error) || fruitless >= (attempts ?? MAX_FRUITLESS) || isOver) throw error;
      await delay(Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, fruitless - 1)), signal);
    }
  }
}

async function* rangeOf(
  blob: Descriptor,
  range: BlobRange,
  options: ResumingOptions,
): AsyncGenerator<Uint8Array> {
  const isWhole = range.start === 0 && range.end === blob.size;
  const first = await openBody(blob, range, isWhole, options);
  // Without support for ranges the blob is read from its beginning, and the bytes before the range are skipped.
  const opened = first ?? (isWhole ? undefined : await openBody(blob, range, true, options));
  if (opened === undefined) {
    throw new QuayctlError(
      'protocol',
      `the registry answers 416, which is about ranges, for all of ${options.what}`,
    );
  }
  yield* useful(opened.body, opened.url, options.signal);
}

async function openBody(
  blob: Descriptor,
  range: BlobRange,
  isWhole: boolean,
  { what, open, patience = ONLY_SOURCE, signal }: ResumingOptions,
): Promise<{ readonly body: BlobBody; readonly url: URL } | undefined> {
  const { answer, url } = await open({
    // Another encoding would be other bytes than those that the digest is of.
    headers: {
      'accept-encoding': 'identity',
      ...(isWhole ? {} : { range: `bytes=${range.start}-${range.end - 1}` }),
    },
    what,
    ...patience,
    signal,
  });
  try {
    const body = bodyOf(answer, blob, range, url);
    if (body.kind === 'body') return { body, url };
    dropBody(answer);
    return undefined;
  } catch (error) {
    dropBody(answer);
    throw error;
  }
}

/** What of a body was asked for. @throws QuayctlError `unreachable` where it breaks off, `protocol` where it goes on */
async function* useful(body: BlobBody, url: URL, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let { skip, length: left } = body;
  try {
    for await (const chunk of withMinimumRate(decoded(body), url)) {
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

function decoded({ answer, coding }: BlobBody): AsyncIterable<Buffer> {
  const decoder = coding === undefined ? undefined : decoderOf(coding);
  if (decoder === undefined) return answer.body as AsyncIterable<Buffer>;
  return Readable.from(answer.body).compose(decoder) as AsyncIterable<Buffer>;
}
