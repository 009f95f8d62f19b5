import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { formatEndpoint, type DockerEndpoint } from './endpoint.ts';

/** What a request fails with when the daemon goes away in the middle of it, or is not back yet. */
const LOST = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
  'ENOENT',
  'ECONNABORTED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'is Docker installed and running? start it (sudo systemctl start docker), or set DOCKER_HOST',
  ECONNREFUSED: 'start Docker (sudo systemctl start docker), or set DOCKER_HOST',
  EACCES: 'join the docker group (sudo usermod -aG docker "$USER", then log in again), or use sudo',
  EPERM: 'join the docker group (sudo usermod -aG docker "$USER", then log in again), or use sudo',
  ENOTFOUND: 'check DOCKER_HOST',
  EHOSTUNREACH: 'check DOCKER_HOST',
  ENETUNREACH: 'check DOCKER_HOST',
  ETIMEDOUT: 'check DOCKER_HOST',
};

/** The daemon understood a request and said no; `message` is its own text. */
export class DockerRefusal extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** True where asking again, once the daemon is back, may help. */
export function isLost(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (LOST.has((at as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}

/** What a failed request means to the user. @param what e.g. `Docker: loading docker.io/library/x:1` */
export function explain(
  error: unknown,
  what: string,
  endpoint: DockerEndpoint,
  signal: AbortSignal,
): QuayctlError {
  if (signal.aborted) {
    return isQuayctlError(signal.reason)
      ? signal.reason
      : new QuayctlError('interrupted', 'interrupted', { cause: signal.reason });
  }
  if (isQuayctlError(error)) return error;
  if (error instanceof DockerRefusal) return explainRefusal(error, what);
  const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? '') : '';
  if (/^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|EPROTO)/.test(code)) {
    return new QuayctlError('engine', `${what}: TLS with ${formatEndpoint(endpoint)} failed (${code})`, {
      cause: error,
      hint: 'check DOCKER_TLS_VERIFY, and ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH',
    });
  }
  const reason =
    code in HINTS ? `cannot connect to ${formatEndpoint(endpoint)} (${code})` : 'the connection broke';
  return new QuayctlError('engine', `${what}: ${reason}`, {
    cause: error,
    hint: HINTS[code] ?? 'look at what Docker says: sudo journalctl -u docker',
  });
}

function explainRefusal(refusal: DockerRefusal, what: string): QuayctlError {
  const text = refusal.message.trim();
  if (/no space left on device|disk quota exceeded/i.test(text)) {
    return new QuayctlError('engine', `${what}: Docker's disk is full`, {
      cause: refusal,
      hint: 'make room where Docker keeps its images: docker system df, docker image prune',
    });
  }
  if (/invalid diffID|wrong diff id|layers from manifest don't match/i.test(text)) {
    return new QuayctlError('verification', `${what}: a layer is not the one that the image's config names`, {
      cause: refusal,
      hint: 'the image is broken where it was pushed; push it again',
    });
  }
  const hint = /HTTP request to an HTTPS server/i.test(text)
    ? 'the daemon wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH'
    : undefined;
  return new QuayctlError('engine', `${what}: ${text}`, { cause: refusal, hint });
}
