import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { formatEndpoint, type ApiEndpoint } from './endpoint.ts';

/** How one engine behind this API is named, started and looked after, for error messages. */
export interface EngineWords {
  readonly title: string;
  /** The variable that says where it listens. */
  readonly variable: string;
  /** Shell commands. */
  readonly start: string;
  readonly log: string;
  readonly makeRoom: string;
  /** Advice for a user who may not open the socket. */
  readonly access: string;
}

/** Error codes of requests whose daemon goes away in the middle, or is not back yet. */
const LOST = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
  'ENOENT',
  'ECONNABORTED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** Advice for a connection that fails, by the error's code. */
function connectHint(code: string, { title, variable, start, access }: EngineWords): string | undefined {
  switch (code) {
    case 'ENOENT':
      return `is ${title} installed and running? start it (${start}), or set ${variable}`;
    case 'ECONNREFUSED':
      return `start ${title} (${start}), or set ${variable}`;
    case 'EACCES':
    case 'EPERM':
      return access;
    case 'ENOTFOUND':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return `check ${variable}`;
    default:
      return undefined;
  }
}

/** The daemon understood a request and said no; `message` is its own text. */
export class DockerRefusal extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Answers of a daemon that is ending: it closes its connections to containerd before those to its clients. */
const ENDING =
  /client connection is closing|transport is closing|context canceled|code = (?:Canceled|Unavailable)|error reading from server/i;

/** Whether the daemon is gone or going, so that asking again once it is back may help. */
export function isLost(error: unknown): boolean {
  if (error instanceof DockerRefusal && ENDING.test(error.message)) return true;
  for (let at = error; at instanceof Error; at = at.cause) {
    if (LOST.has((at as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}

/**
 * Refusals that are about unpacking a layer. Where our own side ended the archive early its reason is told instead, so
 * a bare `unexpected EOF` (today's graph drivers) is about a layer, too.
 */
const LAYER_FAILURE =
  /failed to extract layer|processing tar file|applylayer|failed to register layer|^unexpected EOF$/i;

/** What decompressors and tar readers of Go say of bytes that they cannot read. */
const BROKEN_LAYER =
  /archive\/tar: |unexpected EOF|gzip: invalid|invalid (?:input|magic|header|checksum)|corrupt|flate: |zstd/i;

/** What a failed request means to the user. @param work e.g. `loading docker.io/library/x:1` */
export function explain(
  error: unknown,
  work: string,
  endpoint: ApiEndpoint,
  words: EngineWords,
  signal: AbortSignal,
): QuayctlError {
  const what = `${words.title}: ${work}`;
  if (signal.aborted) {
    return isQuayctlError(signal.reason)
      ? signal.reason
      : new QuayctlError('interrupted', 'interrupted', { cause: signal.reason });
  }
  if (isQuayctlError(error)) return error;
  if (error instanceof DockerRefusal) return explainRefusal(error, what, words);
  const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? '') : '';
  if (/^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|EPROTO)/.test(code)) {
    return new QuayctlError('engine', `${what}: TLS with ${formatEndpoint(endpoint)} failed (${code})`, {
      cause: error,
      hint: 'check DOCKER_TLS_VERIFY, and ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH',
    });
  }
  const hint = connectHint(code, words);
  const reason =
    hint === undefined ? 'the connection broke' : `cannot connect to ${formatEndpoint(endpoint)} (${code})`;
  return new QuayctlError('engine', `${what}: ${reason}`, {
    cause: error,
    hint: hint ?? `look at what ${words.title} says: ${words.log}`,
  });
}

function explainRefusal(refusal: DockerRefusal, what: string, words: EngineWords): QuayctlError {
  const text = refusal.message.trim();
  if (/no space left on device|disk quota exceeded/i.test(text)) {
    return new QuayctlError('engine', `${what}: ${words.title}'s disk is full`, {
      cause: refusal,
      hint: `make room where ${words.title} keeps its images: ${words.makeRoom}`,
    });
  }
  if (/invalid diffID|wrong diff id|layers from manifest don't match/i.test(text)) {
    return new QuayctlError('verification', `${what}: a layer is not the one that the image's config names`, {
      cause: refusal,
      hint: 'the image is broken where it was pushed; push it again',
    });
  }
  if (LAYER_FAILURE.test(text) && BROKEN_LAYER.test(text)) {
    return new QuayctlError('verification', `${what}: a layer cannot be unpacked: ${text}`, {
      cause: refusal,
      hint: 'the image is broken where it was pushed; push it again',
    });
  }
  const hint = /HTTP request to an HTTPS server/i.test(text)
    ? 'the service expects TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH'
    : undefined;
  return new QuayctlError('engine', `${what}: ${text}`, { cause: refusal, hint });
}
