import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { dumpBody, headerOf, type Http, type HttpAnswer } from './http.ts';

/** The redirects that name another place (RFC 9110 section 15.4). */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** An answer and the URL that gave it, which for a blob is often its storage's. */
export interface LocatedResponse<Answer = HttpAnswer> {
  readonly answer: Answer;
  /** May be signed: show nothing but its host. */
  readonly url: URL;
  /** Whether that URL was named by a host elsewhere, so that it must not be on this machine. */
  readonly denyLocal: boolean;
}

export interface RedirectRules {
  /** Redirects in a row. */
  readonly limit: number;
  /** Whether a redirect may leave HTTPS (`--insecure`). */
  readonly insecure: boolean;
  /** Whether the first URL was itself named by a host elsewhere. */
  readonly denyLocal?: boolean;
}

/** One request of a chain. */
export interface Hop {
  readonly url: URL;
  /** To be handed to `Http.request`. */
  readonly denyLocal: boolean;
  /** 0 for the first. */
  readonly count: number;
}

/**
 * Follows redirects. This is the one place that decides where a redirect may lead: only a host on this machine may lead
 * to this machine (or its link, or a metadata service), and nothing leaves HTTPS without `--insecure`.
 * @param send one request; it decides what each place is shown
 * @throws QuayctlError `protocol`; what `send` throws
 */
export async function followRedirects(
  http: Pick<Http, 'isLocal'>,
  start: URL,
  rules: RedirectRules,
  send: (hop: Hop) => Promise<HttpAnswer>,
): Promise<LocatedResponse> {
  let url = start;
  let denyLocal = rules.denyLocal ?? false;
  for (let count = 0; ; count++) {
    const answer = await send({ url, denyLocal, count });
    if (!isRedirect(answer.statusCode)) return { answer, url, denyLocal };
    await dumpBody(answer);
    if (count === rules.limit) {
      throw new QuayctlError(
        'protocol',
        `${start.host} redirects without end (more than ${rules.limit} times)`,
      );
    }
    denyLocal ||= !http.isLocal(url);
    url = redirectTarget(url, headerOf(answer, 'location'), rules.insecure);
  }
}

/**
 * Where a redirect leads. Messages name hosts only, the rest may be signed.
 * @throws QuayctlError `protocol`
 */
export function redirectTarget(from: URL, location: string | undefined, insecure: boolean): URL {
  const url = location === undefined ? null : URL.parse(location, from.href);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new QuayctlError('protocol', `${from.host} redirects to nowhere that can be followed`);
  }
  const isDowngrade = from.protocol === 'https:' && url.protocol === 'http:';
  if (isDowngrade && !insecure && !(isLoopback(from.hostname) && isLoopback(url.hostname))) {
    throw new QuayctlError('protocol', `${from.host} redirects from HTTPS to plain HTTP at ${url.host}`, {
      hint: '--insecure allows that',
    });
  }
  url.username = '';
  url.password = '';
  return url;
}
