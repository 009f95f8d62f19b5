import { QuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import { dumpBody, headerOf, readBody } from '../../http/http.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { MAX_REPORT_BYTES, type SecurityReport } from '../../security/report.ts';
import { parseReportJson } from '../../security/report-json.ts';
import { readRefusal } from '../failures.ts';
import { ServiceAsker, type ServiceAskerOptions } from '../service-asker.ts';

/** How long the service may hold its answer while Clair works. Seconds. */
const WAIT_SECONDS = 10;
const ASK_AGAIN_MS = 500;
const SERVICE_HEADER = 'quay-torrent';

/**
 * The report that a torrent service has of a manifest (`serve --clair`), at `/c1/security/REPO/DIGEST`.
 * @param name of the repository
 * @throws QuayctlError `no-report` where it has none or is no torrent service, `unauthorized`, `unreachable`, ...; the
 *   signal's reason while the report is being made
 */
export async function serviceReport(
  options: ServiceAskerOptions,
  name: string,
  digest: Digest,
  signal: AbortSignal,
  onStep: (step: string) => void,
): Promise<SecurityReport> {
  const asker = new ServiceAsker(options);
  const base = await asker.base(signal);
  const url = new URL(`${base.pathname.replace(/\/+$/, '')}/c1/security/${name}/${digest}`, base);
  url.searchParams.set('ns', options.registry);
  url.searchParams.set('wait', String(WAIT_SECONDS));
  for (;;) {
    const question = { headers: { accept: 'application/json' }, waitSeconds: WAIT_SECONDS, signal };
    const { answer, authorization } = await asker.ask(url, question);
    const { statusCode: status } = answer;
    if (headerOf(answer, SERVICE_HEADER) === undefined) {
      await dumpBody(answer);
      throw new QuayctlError('no-report', `${base.host} is not a torrent service`);
    }
    if (status === 200) {
      const bytes = await readBody(answer, { maxBytes: MAX_REPORT_BYTES, url, what: 'its report', signal });
      return parseReportJson(bytes, digest, base.host);
    }
    if (status === 202) {
      await dumpBody(answer);
      onStep('indexing');
      await delay(ASK_AGAIN_MS, signal);
      continue;
    }
    if (status === 401 || status === 403) {
      await dumpBody(answer);
      throw asker.refusal(url, `the security report of ${shortDigest(digest)}`, authorization);
    }
    const { message } = await readRefusal(answer, url, signal);
    const reason = message === '' ? '' : `: ${message}`;
    const code = status >= 500 && status !== 501 ? 'unreachable' : 'no-report';
    throw new QuayctlError(code, `the torrent service ${base.host} has no security report${reason}`);
  }
}
