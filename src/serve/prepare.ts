import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { isDigest, type Digest } from '../image/digest.ts';
import { parseImageReference } from '../image/reference.ts';
import { walkIndex } from '../image/walk-index.ts';
import type { TorrentServiceOptions } from './options.ts';
import { HashStore } from './torrents/hash-store.ts';
import { Hashing, type HashingCaller } from './torrents/hashing.ts';
import { openUpstream } from './upstream/open-upstream.ts';
import { readManifest, type FoundManifest } from './upstream/manifests.ts';
import type { Upstream } from '../upstream/upstream.ts';

/** `quayctl serve prepare`: the part of the service's options that it needs. */
export type PrepareOptions = Pick<
  TorrentServiceOptions,
  'upstream' | 'insecure' | 'aliases' | 'ownCredential' | 'dataDirectory' | 'http' | 'listener'
>;

export interface Prepared {
  readonly image: string;
  /** Blobs with piece hashes now, made or found. */
  readonly blobs: number;
  /** The size of these blobs. */
  readonly bytes: number;
}

const OPERATOR: HashingCaller = { authorization: undefined, claimants: ['operator'] };
/** Only completes a reference that names a repository of the upstream. */
const SOME_REGISTRY = 'registry.invalid';

/**
 * Makes the piece hashes of an image's blobs ahead of time, for all of its platforms; a service with the same data
 * directory finds them there.
 * @param images `HOST/REPOSITORY[:TAG][@DIGEST]` with one of the upstream's names, or without a host
 * @throws QuayctlError `usage`, `not-found`, `unauthorized`, `unreachable`, `verification`, ...
 */
export async function prepareTorrents(
  images: readonly string[],
  options: PrepareOptions,
  signal: AbortSignal,
): Promise<readonly Prepared[]> {
  const { upstream, own } = openUpstream(options);
  const names = [...upstream.hosts, ...(options.aliases ?? [])];
  const places = images.map((image) => ({ image, ...placeOf(image, names) }));
  const store = new HashStore(options.dataDirectory);
  const hashing = new Hashing({ upstream, own, store, listener: options.listener, isForOperator: true });
  signal.addEventListener('abort', () => hashing.close(), { once: true });
  const prepared: Prepared[] = [];
  for (const { image, repository, selector } of places) {
    const blobs = await blobsOf(own, repository, selector, signal);
    const made = [...blobs.values()].map(async ({ digest, size }) => {
      const found = await hashing.hashes({ repository, digest }, size, OPERATOR);
      return 'done' in found ? found.done : found;
    });
    for (const { status, reason } of (await Promise.allSettled(made)) as {
      status: string;
      reason?: unknown;
    }[]) {
      signal.throwIfAborted();
      if (status === 'rejected') throw reason;
    }
    const bytes = [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
    prepared.push({ image, blobs: blobs.size, bytes });
  }
  return prepared;
}

function placeOf(image: string, names: readonly string[]): { repository: string; selector: string } {
  const name = names.find((host) => image.startsWith(`${host}/`));
  const rest = name === undefined ? image : image.slice(name.length + 1);
  const { repository, tag, digest } = parseImageReference(`${SOME_REGISTRY}/${rest}`);
  const [first = ''] = rest.split('/', 1);
  if (name === undefined && rest.includes('/') && /[.:]|^localhost$/.test(first)) {
    throw new QuayctlError('usage', `${image} is of another registry`, {
      hint: `of this one: ${names[0] ?? ''}/REPOSITORY:TAG, or REPOSITORY:TAG alone`,
    });
  }
  return { repository, selector: digest ?? tag ?? 'latest' };
}

/** Every blob that a pull of the image may ask for, once each. */
async function blobsOf(
  own: Upstream,
  repository: string,
  selector: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const blobs = new Map<Digest, Descriptor>();
  for await (const { parsed } of walkIndex([selector], (each) => manifestOf(own, repository, each, signal))) {
    if (parsed?.kind !== 'manifest') continue;
    const parts = [parsed.config, ...parsed.layers].filter(({ size }) => size > 0);
    for (const part of parts) blobs.set(part.digest, part);
  }
  return blobs;
}

async function manifestOf(
  own: Upstream,
  repository: string,
  selector: string,
  signal: AbortSignal,
): Promise<FoundManifest['parsed']> {
  const found = await readManifest(own, repository, selector, undefined, signal);
  if ('parsed' in found) return found.parsed;
  throw refusal(found.status, `${repository}${isDigest(selector) ? '@' : ':'}${selector}`);
}

function refusal(status: number, what: string): QuayctlError {
  if (status === 404) return new QuayctlError('not-found', `${what}: no such image`);
  if (status === 401 || status === 403) {
    return new QuayctlError('unauthorized', `not authorised for ${what}`, {
      hint: 'give the service a pull credential: --upstream-auth FILE, or `quayctl login`',
    });
  }
  return new QuayctlError('unreachable', `upstream: status ${status} for ${what}`);
}
