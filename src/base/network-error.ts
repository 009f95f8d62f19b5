import { QuayctlError } from './errors.ts';
import { redact } from './redact.ts';

const CERTIFICATE_CODES = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** What people say instead of the system's codes. */
const REASONS: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'its name cannot be looked up now',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no network',
  ENOTFOUND: 'no such host',
  ETIMEDOUT: 'no answer',
  UND_ERR_BODY_TIMEOUT: 'the transfer stalled',
  UND_ERR_CONNECT_TIMEOUT: 'no answer',
  UND_ERR_HEADERS_TIMEOUT: 'it accepted, but did not answer',
  UND_ERR_SOCKET: 'the connection broke',
};

/** A network failure in words: which host, why, and what to do where that is known. */
export function networkError(url: URL, error: unknown): QuayctlError {
  if (error instanceof QuayctlError) return error;
  const code = codeOf(error);
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new QuayctlError('limit', `${url.host}: its answer has too many headers`, { cause: error });
  }
  const text = error instanceof Error ? redact(error.message) : 'failed';
  const reason = REASONS[code] ?? text;
  return new QuayctlError('unreachable', `${url.host} cannot be reached: ${reason}`, {
    cause: error,
    hint: hintFor(url, code, text),
  });
}

/** True for a TLS handshake that met plain HTTP. */
export function isPlainHttpAnswer(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (/wrong version number|packet length too long|EPROTO/i.test(at.message)) return true;
  }
  return false;
}

function hintFor(url: URL, code: string, text: string): string | undefined {
  if (CERTIFICATE_CODES.has(code)) {
    return `put the authority's certificate into /etc/docker/certs.d/${url.host}/ca.crt, or name it in NODE_EXTRA_CA_CERTS`;
  }
  if (isPlainHttpAnswer(new Error(text))) return 'it speaks plain HTTP; --insecure allows that';
  if (code === 'ENOTFOUND') return 'check the name; behind a proxy, set HTTPS_PROXY';
  return undefined;
}

function codeOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string' && code !== 'UND_ERR_SOCKET') return code;
    if (at instanceof AggregateError && at.errors[0] instanceof Error) return codeOf(at.errors[0]);
    if (typeof code === 'string' && !(at.cause instanceof Error)) return code;
  }
  return '';
}
