import { QuayctlError } from '../../base/errors.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { repositoryName, type ImageReference } from '../../image/reference.ts';
import type { EnginePresence } from '../engine.ts';
import { streamed } from '../archive.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import { archiveHead, firstMissingLayer, prefixImage } from './graph-archive.ts';

/** Below this it is quicker to fetch and send everything than to ask what is there. Bytes. */
const PROBE_BYTES = 64 * 1024;

/**
 * Docker before 25 knows no IPv6 addresses in names: it would load the image and leave it without one.
 * @throws QuayctlError `engine`
 */
async function assertNameable(
  client: DockerClient,
  { registry, repository }: ImageReference,
  signal: AbortSignal,
): Promise<void> {
  if (!registry.startsWith('[')) return;
  try {
    await client.inspect(repositoryName({ registry, repository }), signal);
  } catch (error) {
    if (!(error instanceof DockerRefusal) || error.status !== 400) throw error;
    throw new QuayctlError('engine', `Docker: no image can have a name that begins with ${registry}`, {
      cause: error,
      hint: 'give the registry a host name, or use Docker 25 or newer, which takes IPv6 addresses',
    });
  }
}

/**
 * What Docker's own layer store has of an image.
 * @param label for an image that is made and removed on the way
 * @throws QuayctlError `engine` where the image cannot have its name
 */
export async function presenceInGraph(
  client: DockerClient,
  image: RunnableImage,
  label: string,
  signal: AbortSignal,
): Promise<EnginePresence> {
  await assertNameable(client, image.reference, signal);
  const { config, layers } = image.manifest;
  if ((await client.inspect(config.digest, signal)) !== undefined)
    return { image: true, layers: layers.map(() => true) };
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const missing = bytes < PROBE_BYTES ? 0 : await probe(client, image, label, signal);
  return { image: false, layers: layers.map((_, at) => at < missing) };
}

/**
 * Loads an image without any layer file: the daemon complains about the first one that it does not have. Finds
 * layers that no image shows, too (build cache, what a crashed run left).
 * @returns the index of that layer; the number of layers where all are there
 */
export async function probe(
  client: DockerClient,
  image: RunnableImage,
  label: string,
  signal: AbortSignal,
): Promise<number> {
  const count = image.config.diffIds.length;
  const config = prefixImage(image, count, label);
  try {
    await client.load(streamed(archiveHead(config)), signal);
  } catch (error) {
    const missing = error instanceof DockerRefusal ? firstMissingLayer(error.message) : undefined;
    if (missing === undefined) throw error;
    return missing;
  }
  await client.remove(config.id, signal);
  return count;
}
