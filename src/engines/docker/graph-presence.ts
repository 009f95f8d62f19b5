import type { RunnableImage } from '../../image/manifest.ts';
import type { EnginePresence } from '../engine.ts';
import { streamed } from '../archive.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import { archiveHead, firstMissingLayer, prefixImage } from './graph-archive.ts';

/** Below this it is quicker to fetch and send everything than to ask what is there. Bytes. */
const PROBE_BYTES = 64 * 1024;

/** What Docker's own layer store has of an image. @param label for an image that is made and removed on the way */
export async function presenceInGraph(
  client: DockerClient,
  image: RunnableImage,
  label: string,
  signal: AbortSignal,
): Promise<EnginePresence> {
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
