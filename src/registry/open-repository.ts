import { QuayctlError } from '../base/errors.ts';
import { dumpBody, type Http, type HttpAnswer } from '../http/http.ts';
import { isPassing } from '../http/network-error.ts';
import { retry } from '../base/retry.ts';
import { BodyTooSlow } from '../http/minimum-rate.ts';
import type { Credential } from '../credentials/credential.ts';
import type { ManifestDocument } from '../image/manifest.ts';
import { MANIFEST_TYPES } from '../image/media-types.ts';
import { Authorizer } from './authorizer.ts';
import { BlobStream } from './blob-stream.ts';
import { readRefusal } from './failures.ts';
import { manifestName, readManifestDocument, type WantedManifest } from './manifest-document.ts';
import type { Repository } from './repository.ts';
import { Requester } from './requester.ts';
import { ONLY_SOURCE } from './resuming.ts';

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
    manifest: (selector, signal) => {
      const wanted = { repository: `${access.registry}/${repository}`, selector };
      return manifest(requester, wanted, `/v2/${repository}/manifests/${selector}`, signal);
    },
    blob: (descriptor, start, end, signal, patience) =>
      blobs.read(descriptor, start, end, { signal, patience }),
    elsewhere: (descriptor, start, end, signal) =>
      blobs.read(descriptor, start, end, { signal, from: 'urls' }),
  };
}

/** Transfers of one manifest that may break off. */
const MANIFEST_ATTEMPTS = 3;
const MANIFEST_DELAY_MS = 300;

async function manifest(
  requester: Requester,
  wanted: WantedManifest,
  path: string,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  return retry(() => readManifest(requester, wanted, path, signal), {
    attempts: requester.attempts ?? MANIFEST_ATTEMPTS,
    firstDelayMs: MANIFEST_DELAY_MS,
    maxDelayMs: MANIFEST_DELAY_MS,
    verdict: (error) => (error instanceof BrokenOff ? undefined : 'stop'),
    signal,
  }).catch((error: unknown) => {
    throw error instanceof BrokenOff ? error.cause : error;
  });
}

/** The requester has been patient already; what breaks off in the body has not been tried again yet. */
class BrokenOff extends Error {
  constructor(cause: unknown) {
    super('broken off', { cause });
  }
}

async function readManifest(
  requester: Requester,
  wanted: WantedManifest,
  path: string,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const name = manifestName(wanted);
  const headers = { accept: MANIFEST_TYPES.join(', ') };
  const { answer, url } = await requester.get(path, { headers, what: name, ...ONLY_SOURCE, signal });
  if (answer.statusCode !== 200) throw await refused(answer, url, name, signal);
  try {
    return await readManifestDocument(answer, url, wanted, signal);
  } catch (error) {
    throw isPassing(error) && !(error instanceof BodyTooSlow) ? new BrokenOff(error) : error;
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
      `${access.registry} is not a registry: it answers ${answer.statusCode} for /v2/`,
    );
  }
}
