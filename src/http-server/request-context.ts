import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { UpstreamAnswer } from '../serve/upstream/upstream.ts';

/** One request and its answer, as the routes see it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: 'GET' | 'HEAD';
  /** Address of who asks, seen through trusted proxies. */
  readonly client: string;
  /** Decoded one by one, the first slash left out: `['v2', 'team', 'app', ...]`. */
  readonly components: readonly string[];
  readonly query: URLSearchParams;
  readonly rawQuery: string;
  /** Fires when the client has left, or the service has no more time for him. */
  readonly signal: AbortSignal;
  /** Fires when the service is about to stop: nothing more is waited for, answers under way are finished. */
  readonly closing: AbortSignal;
}

export type Route = (exchange: Exchange) => Promise<void> | void;

export type Headers = Readonly<Record<string, string | readonly string[]>>;

export function send(
  { response, method }: Exchange,
  status: number,
  headers: Headers,
  content: Uint8Array | string = '',
): void {
  const bytes = Buffer.from(content);
  response.writeHead(status, { ...outgoing(headers), 'content-length': bytes.length });
  response.end(method === 'HEAD' ? undefined : bytes);
}

export function sendJson(exchange: Exchange, status: number, value: unknown, headers: Headers = {}): void {
  send(exchange, status, { ...headers, 'content-type': 'application/json' }, `${JSON.stringify(value)}\n`);
}

/** An error in the form of the OCI distribution-spec ("Error Codes"). */
export function refuse(
  exchange: Exchange,
  status: number,
  code: string,
  message: string,
  headers: Headers = {},
): void {
  sendJson(exchange, status, { errors: [{ code, message }] }, headers);
}

/** Hands an upstream's answer on as it is. */
export async function passThrough(
  exchange: Exchange,
  answer: UpstreamAnswer,
  headers: Headers = {},
): Promise<void> {
  const { response, signal } = exchange;
  response.writeHead(answer.status, outgoing({ ...answer.headers, ...headers }));
  await pipeline(answer.body, response, { signal });
}

function outgoing(headers: Headers): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
  );
}
