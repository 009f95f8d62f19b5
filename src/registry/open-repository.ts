import { QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, readBody, type Http } from '../base/http.ts';
import type { Credential } from '../credentials/credential.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestOf, isDigest, shortDigest, type Digest } from '../image/digest.ts';
import { MAX_MANIFEST_BYTES, type ManifestDocument } from '../image/manifest.ts';
import { MANIFEST_TYPES } from '../image/media-types.ts';
import { Authorizer } from './authorizer.ts';
import { BlobStream } from './blob-stream.ts';
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
  };
}

async function manifest(
  requester: Requester,
  registry: string,
  repository: string,
  selector: string | Digest,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const what = isDigest(selector) ? shortDigest(selector) : selector;
  const name = `${registry}/${repository}${isDigest(selector) ? '@' : ':'}${what}`;
  const { answer, url } = await requester.get(`/v2/${repository}/manifests/${selector}`, {
    headers: { accept: MANIFEST_TYPES.join(', ') },
    what: name,
    signal,
  });
  if (answer.statusCode !== 200) {
    const reason = await errorOf(await readBody(answer, MAX_MANIFEST_BYTES, url, 'its error'));
    if (answer.statusCode === 404) throw notFound(name, reason);
    throw new QuayctlError('protocol', `${registry} answers ${answer.statusCode} for ${name}${reason.text}`);
  }
  const bytes = await readBody(answer, MAX_MANIFEST_BYTES, url, `the manifest of ${name}`);
  const digest = digestOf(bytes);
  const expected = isDigest(selector) ? selector : headerOf(answer, 'docker-content-digest');
  if (expected !== undefined && expected !== digest && expected.startsWith('sha256:')) {
    throw new QuayctlError('verification', `the manifest of ${name} hashes to ${digest}, not to ${expected}`);
  }
  const mediaType = (headerOf(answer, 'content-type') ?? '').split(';')[0]?.trim() ?? '';
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

interface RegistryReason {
  readonly code: string;
  /** `: unknown manifest`, or nothing. */
  readonly text: string;
}

/** distribution-spec, "Error Codes": {errors: [{code, message}]}. */
async function errorOf(bytes: Buffer): Promise<RegistryReason> {
  try {
    const { errors } = JSON.parse(bytes.toString('utf8')) as { errors?: { code?: unknown; message?: unknown }[] };
    const { code, message } = errors?.[0] ?? {};
    const text = typeof message === 'string' ? `: ${message.slice(0, 200)}` : '';
    return { code: typeof code === 'string' ? code : '', text };
  } catch {
    return { code: '', text: '' };
  }
}

function notFound(name: string, { code }: RegistryReason): QuayctlError {
  const isRepository = code === 'NAME_UNKNOWN';
  return new QuayctlError('not-found', `${name}: no such ${isRepository ? 'repository' : 'image'}`, {
    hint: isRepository ? 'check the spelling of the repository' : 'check the tag or digest',
  });
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
    throw new QuayctlError('protocol', `${access.registry} is no registry: it answers ${answer.statusCode} for /v2/`);
  }
}
