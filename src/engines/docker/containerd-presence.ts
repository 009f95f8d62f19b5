import type { RunnableImage } from '../../image/manifest.ts';
import { streamed } from '../archive.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { isAtLeast, type DaemonFacts } from '../docker-api/daemon-facts.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import type { EnginePresence } from '../engine.ts';
import { ociDocuments, ociPrefix } from '../oci-archive.ts';
import { isForeign, isRunnable, targetOf } from './containerd-record.ts';
import { temporaryLabel } from './temporary-images.ts';

/** Below this it is quicker to fetch and send everything than to ask what is there. Bytes. */
const PROBE_BYTES = 64 * 1024;
const CLEANUP_MS = 5000;

/** What containerd's store has of an image. Takes the same time whether it holds one image or a thousand. */
export async function presenceInContainerd(
  client: DockerClient,
  image: RunnableImage,
  facts: DaemonFacts,
  signal: AbortSignal,
): Promise<EnginePresence> {
  const { layers } = image.manifest;
  const record = await client.inspect(targetOf(image), signal);
  // Before API 1.48 a record does not tell whether it is complete; loading its layers does.
  const tells = isAtLeast(facts.apiVersion, 1, 48);
  if (record !== undefined && tells && isRunnable(record, image, facts.platform)) {
    return { image: true, layers: layers.map(() => true) };
  }
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const isWorthIt = bytes >= PROBE_BYTES && !facts.isEmpty;
  const isAsked = !isForeign(image, facts.platform) && (isWorthIt || record !== undefined);
  const there = isAsked ? await countUnpacked(client, image, signal) : 0;
  return {
    image: record !== undefined && !tells && there === layers.length,
    layers: layers.map((_, at) => at < there),
  };
}

/**
 * Loads an image with all of the layers listed and none of them sent: the engine complains about the first one that
 * it has not unpacked. Finds layers that no image shows, too.
 * @returns how many of the lowest layers are there
 */
export async function countUnpacked(
  client: DockerClient,
  image: RunnableImage,
  signal: AbortSignal,
): Promise<number> {
  const count = image.manifest.layers.length;
  const probe = ociPrefix(image, count, temporaryLabel(image.manifest.config.digest));
  try {
    await client.load(streamed(ociDocuments(probe)), signal);
    return count;
  } catch (error) {
    if (!(error instanceof DockerRefusal)) throw error;
    // Where the refusal is about something else, the load itself will tell.
    return missingLayer(error.message, image) ?? 0;
  } finally {
    await client.remove(probe.digest, AbortSignal.timeout(CLEANUP_MS)).catch(() => undefined);
  }
}

/**
 * The index of the layer that a refusal names: `apply layer error for "...": failed to extract layer sha256:<diff
 * ID>: ...`. Undefined where it is about something else than a missing blob.
 */
export function missingLayer(refusal: string, { config }: RunnableImage): number | undefined {
  if (!/not found/i.test(refusal)) return undefined;
  const diffId = /failed to extract layer (sha256:[0-9a-f]{64})/.exec(refusal)?.[1];
  const at = config.diffIds.findIndex((id) => id === diffId);
  return at < 0 ? undefined : at;
}
