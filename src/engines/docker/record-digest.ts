import type { Digest } from '../../image/digest.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { formatPlatform, type Platform } from '../../image/platform.ts';
import { repositoryName } from '../../image/reference.ts';
import type { DockerClient } from '../docker-api/client.ts';

/** The registry has just been there; a Docker that cannot reach it shall not hold up the pull. Milliseconds. */
const RECORD_MS = 10_000;
/** Docker finds the image in its store and fetches no layer; when it begins to, something is wrong. */
const FETCHING = /^(?:Pulling fs layer|Waiting|Downloading|Download complete|Verifying Checksum|Extracting)/;

/** The digest by which the image was asked for, else what the registry's tag points at. */
function recordedDigest(image: RunnableImage): Digest {
  return image.reference.digest ?? image.index?.descriptor.digest ?? image.document.descriptor.digest;
}

/**
 * Lets Docker pull by digest what it has: two or three small requests to the registry, and `docker images --digests`
 * shows it. A load cannot do that. @returns whether it worked; it never throws
 */
export async function recordDigest(
  client: DockerClient,
  image: RunnableImage,
  enginePlatform: Platform,
  signal: AbortSignal,
): Promise<boolean> {
  const stop = new AbortController();
  const within = AbortSignal.any([signal, stop.signal, AbortSignal.timeout(RECORD_MS)]);
  const { os, architecture, variant } = image.config;
  const foreign = os !== enginePlatform.os || architecture !== enginePlatform.architecture;
  const platform = foreign
    ? formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) })
    : undefined;
  try {
    await client.pullDigest(
      repositoryName(image.reference),
      recordedDigest(image),
      platform,
      ({ status }) => {
        if (FETCHING.test(status ?? '')) stop.abort(new Error('Docker fetches layers'));
      },
      within,
    );
    return true;
  } catch {
    return false;
  }
}
