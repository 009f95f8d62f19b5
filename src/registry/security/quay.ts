import { QuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import { dumpBody, headerOf, readBody, type HttpAnswer } from '../../http/http.ts';
import type { Digest } from '../../image/digest.ts';
import { parseQuayReport } from '../../security/quay-report.ts';
import { MAX_REPORT_BYTES, type SecurityReport } from '../../security/report.ts';
import type { OpenRepository } from '../open-repository.ts';

/** Quay asks its own Clair, which may take a while to answer. */
const ANSWER_MS = 60_000;
/** Quay scans what was pushed some seconds or minutes later. */
const POLL_MS = 2000;

/**
 * The report that Quay has of a manifest, by its own API. A registry that is no Quay has none.
 * @param name of the repository
 * @throws QuayctlError `no-report` with the reason, `unauthorized`, `unreachable`, `protocol`, `limit`; the signal's
 *   reason while Quay has not scanned it yet
 */
export async function quayReport(
  repository: OpenRepository,
  name: string,
  digest: Digest,
  signal: AbortSignal,
  onStep: (step: string) => void,
): Promise<SecurityReport> {
  const base = await repository.requester.base(signal);
  const path = `/api/v1/repository/${name}/manifest/${digest}/security?vulnerabilities=true`;
  const url = new URL(path, base);
  for (;;) {
    const answer = await ask(repository, url, base, signal);
    if (!isJson(answer)) {
      await dumpBody(answer);
      throw new QuayctlError('no-report', `${base.host} is not a Quay registry`);
    }
    const bytes = await readBody(answer, { maxBytes: MAX_REPORT_BYTES, url, what: 'its report', signal });
    const { statusCode: status } = answer;
    // 520: Quay could not ask its Clair.
    if (status >= 500) {
      throw new QuayctlError('unreachable', `the security API of ${base.host} answers ${status}`);
    }
    if (status === 401 || status === 403) {
      throw new QuayctlError('unauthorized', `${base.host} shows its security report to others only`);
    }
    if (status !== 200) throw new QuayctlError('no-report', `${base.host} has no security report of it`);
    const read = parseQuayReport(bytes, digest, { kind: 'quay', host: base.host });
    if (read.kind === 'report') return read.report;
    if (read.status !== 'queued') {
      throw new QuayctlError('no-report', `${base.host} has no security report of it: ${read.status}`);
    }
    onStep(read.status);
    await delay(POLL_MS, signal);
  }
}

/** Without a name first: the password is shown where Quay wants it and where the registry is shown it anyway. */
async function ask(
  { requester, authorizer }: OpenRepository,
  url: URL,
  base: URL,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const request = { what: 'the security report', headersTimeoutMs: ANSWER_MS, signal };
  const headers = { accept: 'application/json' };
  const answer = await requester.once(url, { ...request, headers });
  if (answer.statusCode !== 401 && answer.statusCode !== 403) return answer;
  const authorization = authorizer.passwordFor(url, base);
  if (authorization === undefined) return answer;
  await dumpBody(answer);
  return requester.once(url, { ...request, headers: { ...headers, authorization } });
}

function isJson(answer: HttpAnswer): boolean {
  return /^application\/(?:[\w.-]+\+)?json\b/i.test(headerOf(answer, 'content-type') ?? '');
}
