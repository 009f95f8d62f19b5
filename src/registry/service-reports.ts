import { QuayctlError } from '../base/errors.ts';
import { dumpBody, readBody, type Http } from '../http/http.ts';
import { parseJsonObject } from '../image/json.ts';
import type { AnnounceToken } from '../metainfo/tracker-address.ts';

const REPORT_PATH = '/c1/report';
const MAX_ANSWER_BYTES = 4096;
const PATIENCE_MS = 10_000;
/** A service must not have us report without pause, nor never again. Seconds. */
const MIN_AGAIN = 1;
const MAX_AGAIN = 600;

/** What a node tells of one layer (docs/protocol.md, "Reports"). Integer bytes. */
export interface LayerReport {
  readonly version: string;
  /** Of this process, 40 hex digits; its peer id where it is in swarms. */
  readonly peer: string;
  /** On which it accepts peers; 0 for none. */
  readonly port: number;
  readonly size: number;
  readonly have: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  /** The two before, as they were in the last report that was answered. */
  readonly told: readonly [fromPeers: number, fromRegistry: number];
  readonly given: number;
  readonly seconds: number;
  readonly state: 'pulling' | 'done' | 'failed';
  /** Only where the service has asked for them. */
  readonly pieces?: {
    /** BEP 3, in base64. */
    readonly have: string;
    readonly fetching: readonly number[];
    readonly claimed: readonly number[];
  };
}

/**
 * When the next report is wanted, seconds, and whether with pieces. `unwanted`: this service takes none; `refused`: not
 * with this token.
 */
export type ReportAnswer = { readonly again: number; readonly pieces: boolean } | 'unwanted' | 'refused';

/** @param registry @param denyLocal as in HttpRequest */
export async function sendReport(
  http: Pick<Http, 'request'>,
  base: URL,
  { token, report }: { readonly token: AnnounceToken; readonly report: LayerReport },
  options: { readonly registry?: string; readonly denyLocal?: boolean; readonly signal: AbortSignal },
): Promise<ReportAnswer> {
  const url = new URL(`${base.pathname.replace(/\/+$/, '')}${REPORT_PATH}`, base);
  const answer = await http.request(url, {
    ...options,
    method: 'POST',
    headers: { authorization: `Bearer ${token.jwt}`, 'content-type': 'application/json' },
    body: JSON.stringify(report),
    headersTimeoutMs: PATIENCE_MS,
  });
  const { statusCode } = answer;
  if (statusCode === 200) {
    const { signal } = options;
    const bytes = await readBody(answer, {
      maxBytes: MAX_ANSWER_BYTES,
      url,
      what: 'its answer to a report',
      signal,
    });
    const { again, pieces } = parseJsonObject(bytes, 'answer to a report', MAX_ANSWER_BYTES);
    const seconds = typeof again === 'number' ? again : MAX_AGAIN;
    return { again: Math.min(MAX_AGAIN, Math.max(MIN_AGAIN, seconds)), pieces: pieces === true };
  }
  await dumpBody(answer);
  if (statusCode === 401 || statusCode === 403) return 'refused';
  if ([404, 405, 501].includes(statusCode)) return 'unwanted';
  throw new QuayctlError('unreachable', `${url.host} answers ${statusCode} to a report`);
}
