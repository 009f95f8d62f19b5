import { setTimeout as delay } from 'node:timers/promises';
import { sendJson, type RequestContext } from '../../http-server/request-context.ts';

/** The longest that an answer is held back, seconds (protocol.md). */
const MAX_WAIT_SECONDS = 60;
/** A small blob is hashed before its 202 could be read. */
const SHORTEST_WAIT_SECONDS = 0.25;
/** Of a server, of ours too, that takes a silent connection for a dead one: well before that. */
const SIGN_OF_LIFE_MS = 20_000;
/** setTimeout counts in 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const NOT_STORED = { 'cache-control': 'private, no-store' };

/** What somebody waits for, and undefined when the client's patience (`?wait=`), or the service's life, ends first. */
export async function waitFor<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  const asked = Number(exchange.query.get('wait') ?? 0);
  const seconds = Math.min(
    MAX_WAIT_SECONDS,
    Math.max(SHORTEST_WAIT_SECONDS, Number.isFinite(asked) ? asked : 0),
  );
  return untilEnd(done, exchange, (signal) => delay(seconds * 1000, undefined, { signal }));
}

/** For as long as it takes, and the client stays; he sees that something happens (102, RFC 2518). */
export async function waitPatiently<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  return untilEnd(done, exchange, async (signal) => {
    for (;;) {
      await delay(SIGN_OF_LIFE_MS, undefined, { signal });
      exchange.response.writeProcessing();
    }
  });
}

/** As waitPatiently, without a sign: the connection is not taken for a dead one meanwhile. */
export async function waitSilently<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  const { socket } = exchange.request;
  const { timeout = 0 } = socket;
  socket.setTimeout(0);
  try {
    return await untilEnd(done, exchange, (signal) => delay(LONGEST_TIMER_MS, undefined, { signal }));
  } finally {
    socket.setTimeout(timeout);
  }
}

async function untilEnd<T>(
  done: Promise<T>,
  exchange: RequestContext,
  patience: (signal: AbortSignal) => Promise<unknown>,
): Promise<T | undefined> {
  const enough = new AbortController();
  const end = AbortSignal.any([exchange.signal, exchange.closing, enough.signal]);
  try {
    // An abort, too, is an end of waiting.
    const over = patience(end).then(
      () => undefined,
      () => undefined,
    );
    return await Promise.race([done, over]);
  } finally {
    enough.abort();
  }
}

/** What is asked for is being made: how far it is, and when to ask again. */
export function sendProgress(
  exchange: RequestContext,
  progress: { readonly size: number; readonly hashed: number; readonly etaSeconds: number },
): void {
  const etaSeconds = Math.round(progress.etaSeconds * 10) / 10;
  sendJson(exchange, 202, { ...progress, etaSeconds }, { ...NOT_STORED, 'retry-after': '1' });
}
