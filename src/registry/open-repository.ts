import { QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, readBody, type Http, type HttpAnswer } from '../base/http.ts';
import { isPassing } from '../base/network-error.ts';
import { retry } from '../base/retry.ts';
import type { Credential } from '../credentials/credential.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestOf, isDigest, shortDigest, type Digest } from '../image/digest.ts';
import { MAX_MANIFEST_BYTES, type ManifestDocument } from '../image/manifest.ts';
import { MANIFEST_TYPES } from '../image/media-types.ts';
import { Authorizer } from './authorizer.ts';
import { BlobStream } from './blob-stream.ts';
import { readRefusal } from './failures.ts';
import type { Repository } from './repository.ts';
import { Requester } from './requester.ts';

export interface RegistryAccess {
  /** Host as in references: `docker.io`, `localhost:5000`. */
  readonly registry: string;
  readonly credential: Credential | undefined;
  readonly http: Http;
  /** Plain HTTP in place of HTTPS. */
  readonly insecure: boolean;
  /** Holds no secret. */
  readonly onWarning: (message: string) => void;
}

/** A repository, and the authorisation that it earned, for the torrent service. */
export interface OpenRepository extends Repository {
  readonly authorizer: Authorizer;
  readonly requester: Requester;
}

/** Nothing is sent before the first question. */
export function openRepository(access: RegistryAccess, repository: string): OpenRepository {
  const authorizer = new Authorizer({ ...access, scope: `repository:${repository}:pull` });
  const requester = new Requester({ ...access, authorizer });
  const blobs = new BlobStream(requester, repository);
  return {
    authorizer,
    requester,
    manifest: (selector, signal) => manifest(requester, access.registry, repository, selector, signal),
    blob: (descriptor: Descriptor, start: number, end: number, signal: AbortSignal) =>
      blobs.read(descriptor, start, end, signal),
    elsewhere: (descriptor: Descriptor, start: number, end: number, signal: AbortSignal) =>
      blobs.read(descriptor, start, end, signal, 'urls'),
  };
}

/** Transfers of one manifest that may break off. */
const MANIFEST_ATTEMPTS = 3;
const MANIFEST_DELAY_MS = 300;

async function manifest(
  requester: Requester,
  registry: string,
  repository: string,
  selector: string | Digest,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const isByDigest = isDigest(selector);
  const name = `${registry}/${repository}${isByDigest ? `@${shortDigest(selector)}` : `:${selector}`}`;
  const { bytes, headers } = await retry(
    () => readManifest(requester, `/v2/${repository}/manifests/${selector}`, name, signal),
    {
      attempts: MANIFEST_ATTEMPTS,
      firstDelayMs: MANIFEST_DELAY_MS,
      maxDelayMs: MANIFEST_DELAY_MS,
      verdict: (error) => (error instanceof BrokenOff ? undefined : 'stop'),
      signal,
    },
  ).catch((error: unknown) => {
    throw error instanceof BrokenOff ? error.cause : error;
  });
  const digest = digestOf(bytes);
  const expected = isByDigest ? selector : headers.digest;
  if (expected !== undefined && expected !== digest && expected.startsWith('sha256:')) {
    const shown = isDigest(expected) ? expected : 'something else';
    throw new QuayctlError('verification', `the manifest of ${name} hashes to ${digest}, not to ${shown}`);
  }
  const mediaType = headers.type.split(';')[0]?.trim() ?? '';
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/** The requester has been patient already; what breaks off in the body has not been tried again yet. */
class BrokenOff extends Error {
  constructor(cause: unknown) {
    super('broken off', { cause });
  }
}

interface ManifestAnswer {
  readonly bytes: Buffer;
  readonly headers: { readonly type: string; readonly digest: string | undefined };
}

async function readManifest(
  requester: Requester,
  path: string,
  name: string,
  signal: AbortSignal,
): Promise<ManifestAnswer> {
  const headers = { accept: MANIFEST_TYPES.join(', ') };
  const { answer, url } = await requester.get(path, { headers, what: name, signal });
  if (answer.statusCode !== 200) throw await refused(answer, url, name, signal);
  const type = headerOf(answer, 'content-type') ?? '';
  const digest = headerOf(answer, 'docker-content-digest');
  const bound = { maxBytes: MAX_MANIFEST_BYTES, url, what: `the manifest of ${name}`, signal };
  try {
    return { bytes: await readBody(answer, bound), headers: { type, digest } };
  } catch (error) {
    throw isPassing(error) ? new BrokenOff(error) : error;
  }
}

async function refused(
  answer: HttpAnswer,
  url: URL,
  name: string,
  signal: AbortSignal,
): Promise<QuayctlError> {
  const { code, message } = await readRefusal(answer, url, signal);
  if (answer.statusCode === 404) {
    const isRepository = code === 'NAME_UNKNOWN';
    return new QuayctlError('not-found', `${name}: no such ${isRepository ? 'repository' : 'image'}`, {
      hint: isRepository ? 'check the spelling of the repository' : 'check the tag or digest',
    });
  }
  const reason = message === '' ? '' : `: ${message}`;
  return new QuayctlError('protocol', `${url.host} answers ${answer.statusCode} for ${name}${reason}`);
}

/**
 * Whether the registry takes this credential (`quayctl login`).
 * @throws QuayctlError `unauthorized`, `unreachable`, `protocol`
 */
export async function checkLogin(access: RegistryAccess, signal: AbortSignal): Promise<void> {
  const authorizer = new Authorizer({ ...access, scope: undefined });
  const requester = new Requester({ ...access, authorizer });
  const { answer } = await requester.get('/v2/', { what: 'login', signal });
  await dumpBody(answer);
  if (answer.statusCode !== 200) {
    throw new QuayctlError(
      'protocol',
      `${access.registry} is no registry: it answers ${answer.statusCode} for /v2/`,
    );
  }
}
