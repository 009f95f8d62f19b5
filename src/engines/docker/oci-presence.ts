import type { RunnableImage } from '../../image/manifest.ts';
import type { EnginePresence } from '../engine.ts';
import type { ArchivePart } from './archive.ts';
import type { DockerClient, InspectedImage } from './client.ts';
import type { StoreKind } from './daemon-info.ts';
import { DockerRefusal } from './failures.ts';
import { ociHead, ociPrefix } from './oci-archive.ts';

/** Below this it is quicker to fetch and send everything than to ask what is there. Bytes. */
const PROBE_BYTES = 1024 * 1024;
/** Inspecting one takes a millisecond or two; who has more images than this may have a layer sent once more. */
const MAX_INSPECTED = 300;
const PARALLEL_INSPECTIONS = 8;
const PROBE_NAME = 'quayctl.invalid/probe';

/** What an engine with an OCI store has of an image. @param label for an image that is made and removed on the way */
export async function presenceInOci(
  client: DockerClient,
  image: RunnableImage,
  store: StoreKind,
  label: string,
  signal: AbortSignal,
): Promise<EnginePresence> {
  const { layers } = image.manifest;
  if ((await findImage(client, image, store, signal)) !== undefined) {
    return { image: true, layers: layers.map(() => true) };
  }
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  const shared = bytes < PROBE_BYTES ? 0 : await longestShared(client, image, signal);
  const there = shared > 0 && (await takesWithout(client, image, shared, label, signal)) ? shared : 0;
  return { image: false, layers: layers.map((_, at) => at < there) };
}

/** The image by its ID: podman calls it by its config, containerd's store by its manifest or index. */
export async function findImage(
  client: DockerClient,
  image: RunnableImage,
  store: StoreKind,
  signal: AbortSignal,
): Promise<InspectedImage | undefined> {
  const { manifest, document, index, config } = image;
  const ids =
    store === 'podman'
      ? [manifest.config.digest]
      : [document.descriptor.digest, ...(index === undefined ? [] : [index.descriptor.digest])];
  for (const id of ids) {
    const found = await client.inspect(id, signal);
    // An index may be there with another platform's layers.
    if (found !== undefined && commonLength(found.diffIds, config.diffIds) === config.diffIds.length)
      return found;
  }
  return undefined;
}

/** The longest run of lowest layers that one of the engine's images begins with, too. */
async function longestShared(
  client: DockerClient,
  image: RunnableImage,
  signal: AbortSignal,
): Promise<number> {
  const ids = [...new Set((await client.list(undefined, signal)).map(({ id }) => id))].slice(
    0,
    MAX_INSPECTED,
  );
  let longest = 0;
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let id = ids[next++]; id !== undefined; id = ids[next++]) {
      const found = await client.inspect(id, signal);
      longest = Math.max(longest, commonLength(found?.diffIds ?? [], image.config.diffIds));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_INSPECTIONS }, worker));
  return longest;
}

/**
 * Whether the engine can use its own layers in place of these blobs. It need not: what it has may have come in
 * another compression, which its store does not know by this digest.
 */
async function takesWithout(
  client: DockerClient,
  image: RunnableImage,
  count: number,
  label: string,
  signal: AbortSignal,
): Promise<boolean> {
  const name = `${PROBE_NAME}:${label.slice(-16)}`;
  try {
    await client.load(streamed(ociHead(ociPrefix(image, count, label, name))), signal);
    return true;
  } catch (error) {
    if (error instanceof DockerRefusal) return false;
    throw error;
  } finally {
    // A refused load leaves a record behind in containerd's store.
    await client.remove(name, AbortSignal.timeout(5000)).catch(() => undefined);
  }
}

function commonLength(one: readonly string[], other: readonly string[]): number {
  const at = other.findIndex((diffId, index) => one[index] !== diffId);
  return at < 0 ? other.length : at;
}

async function* streamed(parts: Iterable<ArchivePart>): AsyncGenerator<ArchivePart> {
  yield* parts;
}
