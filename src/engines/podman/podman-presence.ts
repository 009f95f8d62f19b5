import { randomBytes } from 'node:crypto';
import type { RunnableImage } from '../../image/manifest.ts';
import type { ArchivePart } from '../archive.ts';
import type { DockerClient, InspectedImage } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import type { EnginePresence } from '../engine.ts';
import { ociDocuments, ociPrefix } from '../oci-archive.ts';

/** Below this it is quicker to fetch and send everything than to ask what is there. Bytes. */
const PROBE_BYTES = 1024 * 1024;
/** podman copies layers in parallel, so a refusal may name a later layer before an earlier one. */
const MAX_PROBES = 8;
const CLEANUP_MS = 5000;

/** What podman has of an image. Takes the same time whether it holds one image or a thousand. */
export async function presenceInPodman(
  client: DockerClient,
  image: RunnableImage,
  signal: AbortSignal,
): Promise<EnginePresence> {
  const { layers } = image.manifest;
  if ((await findImage(client, image, signal)) !== undefined) {
    return { image: true, layers: layers.map(() => true) };
  }
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const there = bytes < PROBE_BYTES ? 0 : await countPresent(client, image, signal);
  return { image: false, layers: layers.map((_, at) => at < there) };
}

/** podman calls an image by the digest of its config. */
export async function findImage(
  client: DockerClient,
  image: RunnableImage,
  signal: AbortSignal,
): Promise<InspectedImage | undefined> {
  return client.inspect(image.manifest.config.digest, signal);
}

/** The lowest layers that podman has under these blob digests, so that an archive may leave them out. */
async function countPresent(
  client: DockerClient,
  image: RunnableImage,
  signal: AbortSignal,
): Promise<number> {
  let count = image.manifest.layers.length;
  for (let probe = 0; count > 0 && probe < MAX_PROBES; probe++) {
    const missing = await firstMissing(client, image, count, signal);
    if (missing === undefined) return count;
    count = missing;
  }
  return 0;
}

/**
 * Loads an image of the first `count` layers without sending any of them.
 * @returns the index of a layer that podman complains about; 0 where the refusal names none; undefined if all are there
 */
async function firstMissing(
  client: DockerClient,
  image: RunnableImage,
  count: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const label = `${image.manifest.config.digest}/${randomBytes(8).toString('hex')}`;
  const prefix = ociPrefix(image, count, label);
  try {
    await client.load(streamed(ociDocuments(prefix)), signal);
    return undefined;
  } catch (error) {
    if (!(error instanceof DockerRefusal)) throw error;
    const at = image.manifest.layers
      .slice(0, count)
      .findIndex(({ digest }) => error.message.includes(digest));
    return Math.max(at, 0);
  } finally {
    await client.remove(prefix.config.digest, AbortSignal.timeout(CLEANUP_MS)).catch(() => undefined);
  }
}

async function* streamed(parts: Iterable<ArchivePart>): AsyncGenerator<ArchivePart> {
  yield* parts;
}
