import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { send, type RequestContext, type AnswerHeaders } from './request-context.ts';
import { contentRange, wantedRange } from './range.ts';

/** Bytes that can be read from anywhere. */
export interface ServedFile {
  readonly length: number;
  /** Without its quotes; strong. */
  readonly etag: string;
  /** Since when it has these bytes, as far as that is known. rkt goes on with a partial download only where this is told. */
  readonly modified?: Date;
  /** @param end exclusive */
  readonly read: (start: number, end: number) => Readable;
}

/** Range, If-Range (by ETag), If-None-Match and HEAD (RFC 9110 sections 13 and 14). */
export async function sendFile(
  exchange: RequestContext,
  file: ServedFile,
  headers: AnswerHeaders,
): Promise<void> {
  const { request, response, method, signal } = exchange;
  const { length } = file;
  const etag = `"${file.etag}"`;
  const about = {
    ...headers,
    etag,
    ...(file.modified === undefined ? {} : { 'last-modified': file.modified.toUTCString() }),
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-store',
  };
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304, { etag }).end();
  const ifRange = request.headers['if-range'];
  const asked = ifRange === undefined || ifRange === etag ? request.headers.range : undefined;
  const wanted = wantedRange(asked, length);
  if (wanted.kind === 'unsatisfiable') {
    return send(exchange, 416, { ...about, 'content-range': `bytes */${length}` });
  }
  const isPart = wanted.kind === 'part';
  const { start, end } = isPart ? wanted : { start: 0, end: length };
  const range = isPart ? { 'content-range': contentRange(wanted, length) } : {};
  response.writeHead(isPart ? 206 : 200, { ...about, ...range, 'content-length': end - start });
  if (method === 'HEAD') return void response.end();
  // The first byte may be a while in coming, and engines wait for the headers for less long.
  response.flushHeaders();
  await pipeline(file.read(start, end), response, { signal });
}
