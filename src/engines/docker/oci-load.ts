import { isQuayctlError } from '../../base/errors.ts';
import { blobPath } from '../../image/layout.ts';
import { digestHex, type Digest } from '../../image/digest.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import type { BlobFeed, LoadedImage, LoadOptions } from '../engine.ts';
import { Arrivals } from '../arrivals.ts';
import type { ArchivePart } from './archive.ts';
import type { DockerClient } from './client.ts';
import { comeback } from './wait-for-daemon.ts';
import type { EngineFacts } from './daemon-info.ts';
import { DockerRefusal, isLost } from './failures.ts';
import { layerFile } from './layer-file.ts';
import { repositoryDigest, splitTag, taggedNames } from './names.ts';
import { ociHead, ociImage, type OciImage } from './oci-archive.ts';
import { findImage } from './oci-presence.ts';
import { recordDigest, recordedDigest } from './record-digest.ts';

/** What a load in containerd's store is called until it is known to be whole. */
const LOADING_NAME = 'quayctl.invalid/loading';
const CLEANUP_MS = 5000;

/**
 * Loads into containerd's store or podman: one OCI archive, streamed while layers arrive. These stores keep the
 * manifest, so that the digest recorded is the registry's.
 */
export async function loadIntoOci(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  facts: EngineFacts,
): Promise<LoadedImage> {
  const tags = taggedNames(options.names);
  await sendPersistently(client, image, feed, options, facts, tags);
  const { signal } = options;
  const loaded = await findImage(client, image, facts.store, signal);
  const wanted = repositoryDigest(image.reference, recordedDigest(image));
  const digestRecorded =
    loaded?.repoDigests.includes(wanted) === true ||
    (options.recordDigest && (await recordDigest(client, image, facts.platform, signal)));
  return { id: loaded?.id ?? image.document.descriptor.digest, names: options.names, digestRecorded };
}

/** Once more when the daemon was restarted meanwhile, and once more when layers that it had are gone. */
async function sendPersistently(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  facts: EngineFacts,
  tags: readonly string[],
): Promise<void> {
  const { presence, signal } = options;
  let left = new Set<Digest>();
  image.manifest.layers.forEach(({ digest }, at) => {
    if (presence.image || presence.layers[at] === true) left.add(digest);
  });
  let lost = false;
  for (;;) {
    try {
      await send(client, image, feed, options, facts, tags, left);
      return;
    } catch (error) {
      if (signal.aborted || isQuayctlError(error)) throw error;
      if (error instanceof DockerRefusal && left.size > 0) left = new Set();
      else if (isLost(error) && !lost) {
        lost = true;
        await comeback(client, error, signal);
      } else throw error;
    }
  }
}

async function send(
  client: DockerClient,
  image: RunnableImage,
  feed: BlobFeed,
  options: LoadOptions,
  facts: EngineFacts,
  tags: readonly string[],
  left: ReadonlySet<Digest>,
): Promise<void> {
  const { signal } = options;
  const { document, index, manifest, reference } = image;
  if (facts.store === 'podman') {
    const name = tags[0] ?? repositoryDigest(reference, recordedDigest(image));
    const oci = ociImage(image, name, true);
    await client.load(parts(oci, feed, options, left), signal);
    await tagAll(client, manifest.config.digest, tags.slice(1), signal);
    return;
  }
  // A refused load leaves its name in containerd's store, on a broken image: so it gets one that nobody has. The
  // index is left out: containerd 1.6 insists on the manifests of the other platforms, which nobody has fetched.
  const byDigest = tags.length === 0 && recordedDigest(image) === document.descriptor.digest;
  const name = byDigest
    ? repositoryDigest(reference, document.descriptor.digest)
    : `${LOADING_NAME}:${digestHex(manifest.config.digest)}`;
  let done = false;
  try {
    await client.load(parts(ociImage(image, name, false), feed, options, left), signal);
    await tagAll(client, name, tags, signal);
    done = true;
  } finally {
    const keep = done && (byDigest || (tags.length === 0 && index !== undefined));
    if (!keep) await client.remove(name, AbortSignal.timeout(CLEANUP_MS)).catch(() => undefined);
  }
}

async function tagAll(
  client: DockerClient,
  id: string,
  tags: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const name of tags) {
    const { repo, tag } = splitTag(name);
    await client.tag(id, repo, tag, signal);
  }
}

/** The archive: small documents first, then each layer once, as it becomes ready. */
async function* parts(
  oci: OciImage,
  feed: BlobFeed,
  options: LoadOptions,
  left: ReadonlySet<Digest>,
): AsyncGenerator<ArchivePart> {
  yield* ociHead(oci);
  const wanted = [...new Map(oci.layers.map((layer) => [layer.digest, layer])).values()].filter(
    ({ digest }) => !left.has(digest),
  );
  for (const digest of left) options.onProgress?.({ layer: digest, done: true });
  const arrivals = new Arrivals(wanted, 0, feed);
  for (const [at, layer] of wanted.entries()) {
    await arrivals.until(at, options.signal);
    options.onProgress?.({ layer: layer.digest, done: false });
    yield await layerFile(blobPath(layer.digest), layer, feed, true, options.signal);
    options.onProgress?.({ layer: layer.digest, done: true });
  }
}
