import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';

/** The chain to an authority that we trust is missing. */
const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);
/** Failures that may be over a moment later. Unknown names and certificates that are not trusted are not among them. */
const PASSING = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_SOCKET',
]);

/** Of these a connection that was not made is told. Through a proxy it is the proxy that was not reached. */
const NOT_CONNECTED = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** After one of these the caller has waited long enough already, so the request is not sent again. */
const TIMEOUTS = new Set(['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT']);

const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** A certificate that is dead, or not born yet, where the clock is right. */
const CLOCK_CODES = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

const CHECK_PROXY = 'check HTTPS_PROXY, HTTP_PROXY and NO_PROXY';

/** Words for the system's codes. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  EAI_AGAIN: 'its name cannot be looked up now',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no network',
  ENOTFOUND: 'no such host',
  EPIPE: 'the connection broke',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  ETIMEDOUT: 'no answer',
  UND_ERR_BODY_TIMEOUT: 'the transfer stalled',
  UND_ERR_CONNECT_TIMEOUT: 'no answer',
  UND_ERR_HEADERS_TIMEOUT: 'it accepted, but did not answer',
  UND_ERR_SOCKET: 'the connection broke',
};

/**
 * A network failure in words: which host, why, and what to do where that is known.
 * @param registry whose folder in `certs.d` counts for that host; the host's own where nothing is said
 * @param proxy through which the host was asked
 */
export function networkError(url: URL, error: unknown, registry = url.host, proxy?: URL): QuayctlError {
  if (error instanceof QuayctlError) return error;
  const code = codeOf(error);
  if (proxy !== undefined && NOT_CONNECTED.has(code)) {
    const reason = `the proxy ${proxy.host} cannot be reached: ${REASONS[code] ?? code}`;
    return new ProxyUnreachable('unreachable', `${url.host} cannot be reached: ${reason}`, {
      cause: error,
      hint: CHECK_PROXY,
    });
  }
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new QuayctlError('limit', `${url.host}: its answer has too many headers`, { cause: error });
  }
  return new QuayctlError('unreachable', `${url.host} cannot be reached: ${reasonFor(code, error)}`, {
    cause: error,
    hint: hintFor(url, code, error, registry),
  });
}

/** True for a network failure that may be gone when the request is made again. */
export function isPassing(error: unknown): boolean {
  return (
    isQuayctlError(error, 'unreachable') && (error.cause === undefined || PASSING.has(codeOf(error.cause)))
  );
}

/** True for a host that accepts connections, and ends them in place of an answer. */
export function isBroken(error: unknown): boolean {
  return isQuayctlError(error, 'unreachable') && BROKEN.has(codeOf(error.cause));
}

/** True for a network failure that took its time. */
export function isTimeout(error: unknown): boolean {
  return isQuayctlError(error, 'unreachable') && TIMEOUTS.has(codeOf(error.cause));
}

/** True for a host that speaks TLS, and whose certificate (or ours) is not taken. */
export function isTlsRefusal(error: unknown): boolean {
  if (!isQuayctlError(error, 'unreachable') || isPlainHttpAnswer(error)) return false;
  const code = codeOf(error.cause);
  return UNTRUSTED.has(code) || CLOCK_CODES.has(code) || /^ERR_(?:TLS|SSL)_/.test(code);
}

/** Nothing is known of the host itself. */
class ProxyUnreachable extends QuayctlError {}

/** True where the proxy could not be reached, which says nothing of what the host behind it speaks. */
export function isProxyFailure(error: unknown): boolean {
  return error instanceof ProxyUnreachable;
}

/** True for a host whose certificate is of an authority that is not known here. */
export function isUnknownAuthority(error: unknown): boolean {
  return isQuayctlError(error, 'unreachable') && UNTRUSTED.has(codeOf(error.cause));
}

/** True for a TLS handshake that met plain HTTP. */
function isPlainHttpAnswer(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (/wrong version number|packet length too long|EPROTO/i.test(at.message)) return true;
  }
  return false;
}

function reasonFor(code: string, error: unknown): string {
  if (UNTRUSTED.has(code)) return 'its certificate is of an authority that is not known here';
  if (isPlainHttpAnswer(error)) return 'it answers in plain HTTP, not in HTTPS';
  if (isNoHttp(error)) return 'what it answers is not HTTP';
  return (
    REASONS[code] ??
    (proxyStatus(error) === undefined ? shown(error) : `the proxy answers ${proxyStatus(error)}`)
  );
}

function hintFor(url: URL, code: string, error: unknown, registry: string): string | undefined {
  if (UNTRUSTED.has(code)) {
    return `put the authority's certificate into /etc/docker/certs.d/${registry}/ca.crt, add it to the system's, or name it in SSL_CERT_FILE`;
  }
  if (isPlainHttpAnswer(error)) return '--insecure allows plain HTTP';
  if (isNoHttp(error) && url.protocol === 'http:') return 'it may speak HTTPS: try without --insecure';
  if (/ALERT_(?:CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA)$/.test(code)) {
    return `it may want a client certificate: /etc/docker/certs.d/${registry}/client.cert and client.key`;
  }
  if (CLOCK_CODES.has(code)) return `this machine's clock says ${new Date().toISOString()}: is it right?`;
  if (code === 'ENOTFOUND') return 'check the name; behind a proxy, set HTTPS_PROXY';
  if (proxyStatus(error) !== undefined) return CHECK_PROXY;
  return undefined;
}

/** undici gives this no code that can be relied on. */
function isNoHttp(error: unknown): boolean {
  return error instanceof Error && error.name === 'HTTPParserError';
}

/** undici has no codes of their own for what a proxy refuses. */
function proxyStatus(error: unknown): string | undefined {
  return error instanceof Error ? /^Proxy .*\((\d{3})\)/.exec(error.message)?.[1] : undefined;
}

function shown(error: unknown): string {
  return error instanceof Error ? redact(error.message).slice(0, 300) : 'failed';
}

/** The system's code, under whatever undici has wrapped around it. */
function codeOf(error: unknown): string {
  let outer = '';
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof AggregateError && at.errors[0] instanceof Error) return codeOf(at.errors[0]);
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code !== 'string') continue;
    if (code !== 'UND_ERR_SOCKET') return code;
    outer = code;
  }
  return outer;
}
