import { BlockList, isIP } from 'node:net';
import { bareHost, familyOf, isLoopback } from '../base/ip-address.ts';
import { QuayctlError } from '../base/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, upper or lower case, as Docker and all of Go read
 * them (golang.org/x/net/http/httpproxy): loopback is never proxied, NO_PROXY knows `*`, hosts (their subdomains
 * with them), `.domain` (subdomains alone), `host:port`, addresses, and address ranges like 10.0.0.0/8.
 * undici's EnvHttpProxyAgent knows no ranges, proxies loopback, and takes HTTP_PROXY for HTTPS, too.
 * @returns undefined for a direct connection
 * @throws QuayctlError `usage` for a proxy that is no URL
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const proxy = either(env, name);
  if (proxy === undefined || isLoopback(url.hostname) || excepted(url, either(env, 'NO_PROXY') ?? '')) {
    return undefined;
  }
  const parsed = URL.parse(proxy.includes('://') ? proxy : `http://${proxy}`);
  if (parsed !== null && /^(?:https?|socks5):$/.test(parsed.protocol)) return parsed;
  // Its text may hold a password.
  throw new QuayctlError('usage', `${name}: not the URL of a proxy (write http://HOST:PORT)`);
}

function excepted(url: URL, exceptions: string): boolean {
  const host = bareHost(url.hostname);
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return exceptions
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && matches(entry, host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const [, address, bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (address !== undefined) return inRange(host, address, Number(bits));
  const [, name = '', entryPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const bare = bareHost(name.replace(/^\*\./, '.'));
  if (bare.startsWith('.')) return host.endsWith(bare);
  return host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`));
}

function inRange(host: string, address: string, bits: number): boolean {
  const version = isIP(address);
  if (isIP(host) === 0 || version === 0 || bits > (version === 4 ? 32 : 128)) return false;
  const range = new BlockList();
  range.addSubnet(address, bits, familyOf(address));
  return range.check(host, familyOf(host));
}

function either(env: Environment, name: string): string | undefined {
  return nonEmpty(env[name]) ?? nonEmpty(env[name.toLowerCase()]);
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
