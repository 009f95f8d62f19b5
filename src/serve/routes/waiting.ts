import { setTimeout as delay } from 'node:timers/promises';
import { QuayctlError } from '../../base/errors.ts';
import { sendJson, type RequestContext } from '../../http-server/request-context.ts';

/** The longest time for which `?wait=` holds an answer back (docs/protocol.md, "The torrent of a blob"). */
const MAX_WAIT_SECONDS = 60;
/** A small blob is hashed before its 202 could be read. */
const SHORTEST_WAIT_SECONDS = 0.25;
/** Well before any server, this one included, takes a silent connection for a dead one. */
const SIGN_OF_LIFE_MS = 20_000;
/**
 * The longest time for which a request for an image itself is held while the image is made. The largest take minutes.
 */
const LONGEST_HOLD_MS = 3_600_000;

export const NOT_STORED = { 'cache-control': 'private, no-store' };

/**
 * What somebody waits for, and undefined when the client's patience (`?wait=`), or the service's life, ends first; at once
 * where too many requests are held back already.
 */
export async function waitFor<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  const asked = Number(exchange.query.get('wait') ?? 0);
  const place = exchange.held.take(exchange.site);
  const wanted = place === undefined || !Number.isFinite(asked) ? 0 : asked;
  const seconds = Math.min(MAX_WAIT_SECONDS, Math.max(SHORTEST_WAIT_SECONDS, wanted));
  try {
    return await untilEnd(done, exchange, (signal) => delay(seconds * 1000, undefined, { signal }));
  } finally {
    place?.();
  }
}

/** Waits for as long as it takes and the client stays, with signs of life for the client (102, RFC 2518). */
export async function waitPatiently<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  return holding(exchange, () =>
    untilEnd(done, exchange, async (signal) => {
      for (let heldMs = 0; heldMs < LONGEST_HOLD_MS; heldMs += SIGN_OF_LIFE_MS) {
        await delay(SIGN_OF_LIFE_MS, undefined, { signal });
        exchange.response.writeProcessing();
      }
    }),
  );
}

/** As waitPatiently, without a sign: the connection is not taken for a dead one meanwhile. */
export async function waitSilently<T>(done: Promise<T>, exchange: RequestContext): Promise<T | undefined> {
  const { socket } = exchange.request;
  const { timeout = 0 } = socket;
  socket.setTimeout(0);
  try {
    return await holding(exchange, () =>
      untilEnd(done, exchange, (signal) => delay(LONGEST_HOLD_MS, undefined, { signal })),
    );
  } finally {
    socket.setTimeout(timeout);
  }
}

/** @throws QuayctlError `limit` where too many requests are held back */
async function holding<T>({ held, site }: RequestContext, wait: () => Promise<T>): Promise<T> {
  const place = held.take(site);
  if (place === undefined) throw new QuayctlError('limit', 'too many requests of this site wait');
  try {
    return await wait();
  } finally {
    place();
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
  progress: {
    readonly size: number;
    readonly hashed: number;
    readonly etaSeconds: number;
    /** Whether direct reads of the blob are given from the reading that makes its hashes. */
    readonly follow?: boolean;
  },
): void {
  const etaSeconds = Math.round(progress.etaSeconds * 10) / 10;
  sendJson(exchange, 202, { ...progress, etaSeconds }, { ...NOT_STORED, 'retry-after': '1' });
}
