import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Shares } from './shares.ts';

/** One request and its answer, as the routes see it. */
export interface RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: 'GET' | 'HEAD';
  /** Address of who asks, seen through trusted proxies. */
  readonly client: string;
  /** The site that this address belongs to (`addressGroup`); bounds are counted by it. */
  readonly site: string;
  /** Places for requests that are held back until there is an answer. */
  readonly held: Shares;
  /** Decoded one by one, the first slash left out: `['v2', 'team', 'app', ...]`. */
  readonly components: readonly string[];
  readonly query: URLSearchParams;
  readonly rawQuery: string;
  /** Fires when the client has left, or the service has no more time for it. */
  readonly signal: AbortSignal;
  /** Fires when the service is about to stop: nothing more is waited for, answers under way are finished. */
  readonly closing: AbortSignal;
}

const CHUNK_BYTES = 64 * 1024;

export type Route = (exchange: RequestContext) => Promise<void> | void;

/** Header names are lower-case; only headers that may be handed on to a caller stand here. */
export type AnswerHeaders = Readonly<Record<string, string | readonly string[]>>;

/** An answer of somewhere else, to be handed on. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  /** Must be read or destroyed. Empty for HEAD. */
  readonly body: Readable;
}

export function send(
  { response, method }: RequestContext,
  status: number,
  headers: AnswerHeaders,
  content: Uint8Array | string = '',
): void {
  const bytes = Buffer.from(content);
  response.writeHead(status, { ...outgoing(headers), 'content-length': bytes.length });
  if (method === 'HEAD') response.end();
  else if (bytes.length <= CHUNK_BYTES) response.end(bytes);
  // Written in chunks, so that one can see whether the client accepts them.
  else pipeline(chunksOf(bytes), response).catch(() => undefined);
}

function* chunksOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

export function sendJson(
  exchange: RequestContext,
  status: number,
  value: unknown,
  headers: AnswerHeaders = {},
): void {
  send(exchange, status, { ...headers, 'content-type': 'application/json' }, `${JSON.stringify(value)}\n`);
}

/** An error in the form of the OCI distribution-spec ("Error Codes"). */
export function refuse(
  exchange: RequestContext,
  status: number,
  code: string,
  message: string,
  headers: AnswerHeaders = {},
): void {
  sendJson(exchange, status, { errors: [{ code, message }] }, headers);
}

/** Hands an upstream's answer on as it is. */
export async function passThrough(
  exchange: RequestContext,
  answer: UpstreamAnswer,
  headers: AnswerHeaders = {},
): Promise<void> {
  const { response, signal } = exchange;
  response.writeHead(answer.status, outgoing({ ...answer.headers, ...headers }));
  await pipeline(answer.body, response, { signal });
}

function outgoing(headers: AnswerHeaders): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
  );
}
