import { QuayctlError } from '../base/errors.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Digest } from '../image/digest.ts';
import { refuse, sendJson, type RequestContext, type Route } from '../http-server/request-context.ts';
import { router } from '../http-server/router.ts';
import { listen, type HttpServer } from '../http-server/server.ts';
import type { MirrorEvent, MirrorListener } from './mirror-context.ts';

/** Blobs that `status` tells of. */
const REMEMBERED = 50;
/** A connection on which nothing moves would be taken for dead. */
const TICK_MS = 2_000;

/** A blob that came into the store for an engine. */
export interface RecentBlob {
  readonly registry: string;
  readonly repository: string;
  readonly digest: Digest;
  /** ISO 8601. */
  readonly at: string;
  readonly outcome: BlobOutcome;
}

/** Keeps what came last. */
export class RecentBlobs {
  readonly #blobs: RecentBlob[] = [];

  /** The latest last. */
  get all(): readonly RecentBlob[] {
    return this.#blobs;
  }

  hear(event: MirrorEvent): void {
    if (event.kind !== 'stored') return;
    const { registry, repository, digest, outcome } = event;
    this.#blobs.push({ registry, repository, digest, at: new Date().toISOString(), outcome });
    if (this.#blobs.length > REMEMBERED) this.#blobs.shift();
  }
}

export interface ControlOptions {
  /** Of a Unix socket, to which this user and root may connect. */
  readonly path: string;
  readonly status: () => Promise<unknown>;
  /** Brings an image into the store. @returns where its bytes came from @throws QuayctlError */
  readonly preheat: (image: string, signal: AbortSignal) => Promise<unknown>;
  readonly listener: MirrorListener;
}

/** What `quayctl mirror status` and `preheat` talk to. @throws QuayctlError `port` */
export async function startControl(options: ControlOptions): Promise<Pick<HttpServer, 'close'>> {
  const { path, status, preheat, listener } = options;
  const closing = new AbortController();
  const routes = new Map<string, Route>([
    ['status', async (exchange) => sendJson(exchange, 200, await status())],
    ['preheat', (exchange) => answerPreheat(exchange, preheat)],
  ]);
  const answer = router({ routes, listener, clientOf: () => 'local', closing: closing.signal });
  const server = await listen({ place: { path }, isProxy: () => true }, () => answer);
  return {
    close: async () => {
      closing.abort();
      await server.close();
    },
  };
}

/** One line of JSON after the other: `{}` while it goes on, then `receipt` or `error`. */
async function answerPreheat(exchange: RequestContext, preheat: ControlOptions['preheat']): Promise<void> {
  const { query, response, signal, closing } = exchange;
  const image = query.get('image');
  if (image === null) return refuse(exchange, 400, 'UNSUPPORTED', 'which image?');
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const ticker = setInterval(() => response.write('{}\n'), TICK_MS);
  const line = await preheat(image, AbortSignal.any([signal, closing])).then(
    (receipt) => ({ receipt }),
    (error: unknown) => {
      const { code, message, hint } =
        error instanceof QuayctlError ? error : new QuayctlError('internal', String(error));
      return { error: { code, message, hint } };
    },
  );
  clearInterval(ticker);
  response.end(`${JSON.stringify(line)}\n`);
}
