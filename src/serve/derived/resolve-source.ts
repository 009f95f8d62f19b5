import { QuayctlError } from '../../base/errors.ts';
import { choosePlatform, type Platform } from '../../image/platform.ts';
import { HANDED_ON, refused, type Permission, type Verdict } from '../permission.ts';
import { readManifest } from '../upstream/manifests.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { ImageName } from './source-blobs.ts';

/** Who names no platform gets this one, wherever the service runs: replicas make the same. */
const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };
/** An index of an index of manifests. */
const MAX_DEPTH = 3;

export interface SourceQuestion {
  readonly repository: string;
  /** Tag or digest. */
  readonly selector: string;
  readonly platform: Platform | undefined;
  /** The caller's. */
  readonly authorization: string | undefined;
}

/**
 * The image that a caller means, if he may have it: the upstream says so, asked with what he showed.
 * @throws QuayctlError `not-found` for a platform that is not there, `unreachable`, `unsupported`, `protocol`, ...
 */
export async function resolveSource(
  question: SourceQuestion,
  { upstream, permission }: { readonly upstream: Upstream; readonly permission: Permission },
  signal: AbortSignal,
): Promise<ImageName | (Verdict & { kind: 'refused' })> {
  const { repository, platform, authorization } = question;
  let { selector } = question;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const found = await readManifest(upstream, repository, selector, authorization, signal);
    if (!('parsed' in found)) {
      if (HANDED_ON.has(found.status)) return refused(found);
      throw new QuayctlError('unreachable', `upstream: status ${found.status} for ${repository}`);
    }
    const { parsed, digest } = found;
    if (parsed.kind === 'manifest') {
      const verdict = await permission.mayRead(
        { repository, digest: parsed.config.digest },
        authorization,
        signal,
      );
      return verdict.kind === 'refused' ? verdict : { repository, digest, manifest: parsed };
    }
    selector = choosePlatform(parsed.manifests, platform ?? DEFAULT_PLATFORM).digest;
  }
  throw new QuayctlError('unsupported', `${repository}: an index within an index within an index`);
}
