// A stand-in for Quay, which no registry of packages has: in front of a real registry it answers the security API as
// endpoints/api/secscan.py does, to strangers for public repositories, else to Basic alone (process_basic_auth_no_pass).
import { request as forward } from 'node:http';
import { startServer } from './http-server.ts';
import type { Scope } from './processes.ts';

export interface QuayStandIn {
  /** `127.0.0.1:PORT`, as in an image reference. */
  readonly host: string;
  readonly url: string;
  /** Authorization of each question for a report. */
  readonly asked: (string | undefined)[];
  /** `status` of the next answers, then `scanned`: `queued`, `failed`, ... */
  readonly statuses: string[];
}

export interface QuayOptions {
  /** Of the real registry behind it. */
  readonly registry: string;
  /** `data` by digest of the manifest; others are 404. */
  readonly reports: Readonly<Record<string, unknown>>;
  /** The Authorization without which nobody is answered. */
  readonly authorization?: string;
}

export async function startQuay(scope: Scope, options: QuayOptions): Promise<QuayStandIn> {
  const asked: (string | undefined)[] = [];
  const statuses: string[] = [];
  const server = await startServer(scope, (request, response) => {
    const [, digest] =
      /^\/api\/v1\/repository\/.+\/manifest\/(sha256:[0-9a-f]{64})\/security\?vulnerabilities=true$/.exec(
        request.url ?? '',
      ) ?? [];
    const answer = (status: number, body: unknown): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.url?.startsWith('/api/') !== true) {
      const { method, headers, url } = request;
      const target = new URL(url ?? '', options.registry);
      const there = forward(
        target,
        { method, headers: { ...headers, host: request.headers.host } },
        (got) => {
          response.writeHead(got.statusCode ?? 502, got.headers);
          got.pipe(response);
        },
      );
      there.on('error', () => response.destroy());
      request.pipe(there);
      return;
    }
    const { authorization } = request.headers;
    asked.push(authorization);
    if (options.authorization !== undefined && authorization !== options.authorization) {
      return answer(401, { status: 401, error_type: 'insufficient_scope', title: 'insufficient_scope' });
    }
    const data = options.reports[digest ?? ''];
    if (data === undefined) return answer(404, { status: 404, error_type: 'not_found', title: 'not_found' });
    const status = statuses.shift() ?? 'scanned';
    answer(200, { status, data: status === 'scanned' ? data : null });
  });
  return { host: server.host, url: server.url, asked, statuses };
}
