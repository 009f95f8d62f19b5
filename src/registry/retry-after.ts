import { QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, type HttpAnswer } from '../http/http.ts';
import { isPassing, isTimeout } from '../http/network-error.ts';
import { retry } from '../base/retry.ts';

/** How often a request is sent when the registry fails for a moment (429, 500, 502 to 504). */
const ATTEMPTS = 4;
const FIRST_DELAY_MS = 300;
const MAX_DELAY_MS = 5_000;
/** A registry that asks for a longer pause than this (Retry-After) is reported to the user instead. */
const LONGEST_RETRY_AFTER_MS = 30_000;
/** 501 and 505 do not pass: they are answers like any other. */
const LATER = new Set([429, 500, 502, 503, 504]);

/** An answer that says "later". */
class LaterError extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, retryAfterMs: number | undefined) {
    super(`answered ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Sends until there is an answer that means something: waits out 429 and 5xx (Retry-After is honoured) and lost
 * connections.
 * @param attempts in all
 * @throws QuayctlError `rate-limited`, `unreachable`
 */
export async function withPatience(
  url: URL,
  signal: AbortSignal,
  send: () => Promise<HttpAnswer>,
  attempts = ATTEMPTS,
): Promise<HttpAnswer> {
  try {
    return await retry(
      async () => {
        const answer = await send();
        if (!LATER.has(answer.statusCode)) return answer;
        await dumpBody(answer);
        throw new LaterError(answer.statusCode, retryAfter(headerOf(answer, 'retry-after'), Date.now()));
      },
      { attempts, firstDelayMs: FIRST_DELAY_MS, maxDelayMs: MAX_DELAY_MS, signal, verdict },
    );
  } catch (error) {
    throw error instanceof LaterError ? laterForGood(url, error) : error;
  }
}

function verdict(error: unknown): number | 'stop' | undefined {
  if (!(error instanceof LaterError)) return isPassing(error) && !isTimeout(error) ? undefined : 'stop';
  const { retryAfterMs } = error;
  return retryAfterMs !== undefined && retryAfterMs > LONGEST_RETRY_AFTER_MS ? 'stop' : retryAfterMs;
}

/** RFC 9110, 10.2.3: seconds or a date. @param now milliseconds since 1970 @returns milliseconds */
export function retryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function laterForGood(url: URL, error: LaterError): QuayctlError {
  const { status, retryAfterMs } = error;
  if (status !== 429) {
    return new QuayctlError('unreachable', `${url.host} answers ${status} again and again`, { cause: error });
  }
  const wait = retryAfterMs === undefined ? '' : `; it asks to wait ${Math.ceil(retryAfterMs / 1000)} s`;
  const isHub = /(?:^|\.)docker\.io$/.test(url.hostname);
  return new QuayctlError('rate-limited', `${url.host} limits our requests${wait}`, {
    cause: error,
    hint: isHub
      ? 'Docker Hub counts pulls by account, and by address for anonymous ones: `quayctl login docker.io` raises the limit'
      : 'wait, or log in for a higher limit',
  });
}
