import { isQuayctlError } from '../../base/errors.ts';
import { ClientLimiter, type ClientLimit } from '../../http-server/client-limiter.ts';
import { readJsonBody } from '../../http-server/request-body.ts';
import { refuse, sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import type { Observer } from '../observe/observer.ts';
import { MAX_REPORT_BYTES, parseReport, type Report } from '../observe/report.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import { NOT_STORED } from './waiting.ts';

/** Reports of one site, per second and at once; of the holders of one account's tokens twice as many. */
const REPORT_LIMIT: ClientLimit = { perSecond: 200, burst: 4000 };
const SUBJECT_FACTOR = 2;

export interface ReportRouteOptions {
  readonly tokens: Pick<AnnounceTokens, 'holder'>;
  readonly observer: Pick<Observer, 'reported'>;
  /** Told of every report, for metrics. */
  readonly onReport: (outcome: 'taken' | 'refused', report?: Report) => void;
}

/** `POST /c1/report`, with the announce token of the torrent as Bearer token (docs/protocol.md, "Reports"). */
export function reportRoute({ tokens, observer, onReport }: ReportRouteOptions): Route {
  const limiter = new ClientLimiter(REPORT_LIMIT);
  const { perSecond, burst } = REPORT_LIMIT;
  const subjects = new ClientLimiter({
    perSecond: perSecond * SUBJECT_FACTOR,
    burst: burst * SUBJECT_FACTOR,
  });
  return async (exchange: RequestContext): Promise<void> => {
    const no = (status: number, code: string, why: string): void => {
      onReport('refused');
      // The rest of a body that is not wanted is not read.
      refuse(exchange, status, code, why, { ...NOT_STORED, connection: 'close' });
    };
    if (!limiter.admit(exchange.site)) return no(429, 'TOOMANYREQUESTS', 'too many reports of this site');
    const [, token = ''] = /^bearer +(\S+) *$/i.exec(exchange.request.headers.authorization ?? '') ?? [];
    const holder = await tokens.holder(token);
    if (holder === undefined) return no(401, 'UNAUTHORIZED', 'the announce token of the torrent is wanted');
    if (holder.subject !== undefined && !subjects.admit(holder.subject))
      return no(429, 'TOOMANYREQUESTS', 'too many reports of this account');
    const body = await readJsonBody(exchange, MAX_REPORT_BYTES);
    if (body === undefined) return onReport('refused');
    let report: Report;
    try {
      report = parseReport(body);
    } catch (error) {
      if (!isQuayctlError(error, 'protocol', 'limit')) throw error;
      return no(400, 'UNSUPPORTED', error.message);
    }
    const answer = observer.reported(holder.infoHash, exchange.client, report);
    if (answer === undefined) return no(400, 'UNSUPPORTED', 'the torrent is of another size');
    onReport('taken', report);
    sendJson(exchange, 200, answer, NOT_STORED);
  };
}
