import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, type HttpAnswer } from '../base/http.ts';
import { retry } from '../base/retry.ts';

const ATTEMPTS = 4;
const FIRST_DELAY_MS = 300;
const MAX_DELAY_MS = 5_000;
/** A registry that wants us to wait longer than this is told to the user instead. */
const LONGEST_RETRY_AFTER_MS = 30_000;

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
 * connections. @throws QuayctlError `rate-limited`, `unreachable`
 */
export async function withPatience(url: URL, signal: AbortSignal, send: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  try {
    return await retry(
      async () => {
        const answer = await send();
        if (answer.statusCode !== 429 && answer.statusCode < 500) return answer;
        await dumpBody(answer);
        throw new LaterError(answer.statusCode, retryAfter(headerOf(answer, 'retry-after')));
      },
      { attempts: ATTEMPTS, firstDelayMs: FIRST_DELAY_MS, maxDelayMs: MAX_DELAY_MS, signal, verdict },
    );
  } catch (error) {
    throw error instanceof LaterError ? laterForGood(url, error) : error;
  }
}

function verdict(error: unknown): number | 'stop' | undefined {
  if (error instanceof LaterError) {
    // Not implemented (501) and the like do not pass.
    if (error.status === 501 || error.status === 505) return 'stop';
    return error.retryAfterMs !== undefined && error.retryAfterMs > LONGEST_RETRY_AFTER_MS ? 'stop' : error.retryAfterMs;
  }
  return isQuayctlError(error, 'unreachable') ? undefined : 'stop';
}

/** RFC 9110, 10.2.3: seconds or a date. @returns milliseconds */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function laterForGood(url: URL, { status, retryAfterMs }: LaterError): QuayctlError {
  if (status !== 429) return new QuayctlError('unreachable', `${url.host} answers ${status} again and again`);
  const wait = retryAfterMs === undefined ? '' : `; it asks to wait ${Math.ceil(retryAfterMs / 1000)} s`;
  const hub = url.host.endsWith('docker.io');
  return new QuayctlError('rate-limited', `${url.host} limits our requests${wait}`, {
    hint: hub
      ? 'Docker Hub counts pulls by account, and by address for anonymous ones: `quayctl login docker.io` raises the limit'
      : 'wait, or log in for a higher limit',
  });
}
