import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from './http.ts';

/** The redirects that keep GET a GET and name a place (RFC 9110 section 15.4). */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/**
 * Where a redirect may lead: the one place for such rules. Messages name hosts only, the rest may be signed.
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
