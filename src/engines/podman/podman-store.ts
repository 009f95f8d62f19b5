import { isQuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { blobPath } from '../../image/layout.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { digestName, taggedName } from '../../image/reference.ts';
import { ReplacedBytes } from '../../store/replaced-bytes.ts';
import type { ArchivePart } from '../archive.ts';
import { Arrivals } from '../arrivals.ts';
import type { ImageStore } from '../docker-api/api-engine.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { DockerRefusal } from '../docker-api/failures.ts';
import { Comebacks } from '../docker-api/wait-for-daemon.ts';
import {
  committedOnly,
  type BlobFeed,
  type EnginePresence,
  type LoadedImage,
  type LoadOptions,
} from '../engine.ts';
import { layerFile } from '../layer-file.ts';
import { ociDocuments, ociImage, type OciImage } from '../oci-archive.ts';
import { findImage, presenceInPodman } from './podman-presence.ts';

/**
 * podman's store (containers/storage). It takes an OCI archive whole, records the manifest and the index, and calls
 * the image by the digest of its config.
 */
export class PodmanStore implements ImageStore {
  readonly #client: DockerClient;

  constructor(client: DockerClient) {
    this.#client = client;
  }

  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence> {
    return presenceInPodman(this.#client, image, signal);
  }

  async load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage> {
    await this.#sendPersistently(image, feed, options);
    const loaded = await findImage(this.#client, image, options.signal);
    const digestRecorded = loaded?.repoDigests.includes(recordedName(image)) === true;
    return { id: loaded?.id ?? image.manifest.config.digest, digestRecorded };
  }

  /** Sends again, once each, when the service was restarted and when layers that it had are gone. */
  async #sendPersistently(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<void> {
    const { presence, signal } = options;
    let left = new Set<Digest>();
    image.manifest.layers.forEach(({ digest }, at) => {
      if (presence.image || presence.layers[at] === true) left.add(digest);
    });
    let source = feed;
    const comebacks = new Comebacks(this.#client, signal);
    for (;;) {
      try {
        await this.#send(image, source, options, left);
        return;
      } catch (error) {
        const isReplaced = error instanceof ReplacedBytes;
        if (signal.aborted || (isQuayctlError(error) && !isReplaced)) throw error;
        if (isReplaced) source = committedOnly(feed);
        else if (error instanceof DockerRefusal && left.size > 0) left = new Set();
        else await comebacks.after(error);
      }
    }
  }

  async #send(
    image: RunnableImage,
    feed: BlobFeed,
    options: LoadOptions,
    left: ReadonlySet<Digest>,
  ): Promise<void> {
    const [first, ...others] = options.names;
    const name = first === undefined ? recordedName(image) : taggedName(first);
    await this.#client.load(parts(ociImage(image, name, true), feed, options, left), options.signal);
    for (const other of others) await this.#client.tag(image.manifest.config.digest, other, options.signal);
  }
}

/** The digest by which the image was asked for, else what the registry's tag points at. */
function recordedName({ reference, index, document }: RunnableImage): string {
  return digestName(reference, reference.digest ?? (index ?? document).descriptor.digest);
}

/** The archive: small documents first, then each layer once, as it becomes ready. */
async function* parts(
  oci: OciImage,
  feed: BlobFeed,
  options: LoadOptions,
  left: ReadonlySet<Digest>,
): AsyncGenerator<ArchivePart> {
  yield* ociDocuments(oci);
  const wanted = [...new Map(oci.layers.map((layer) => [layer.digest, layer])).values()].filter(
    ({ digest }) => !left.has(digest),
  );
  for (const digest of left) options.onProgress?.({ layer: digest, done: true });
  const arrivals = new Arrivals(wanted, 0, feed);
  for (const layer of wanted) {
    options.onProgress?.({ layer: layer.digest, done: false });
    const part = layerFile(blobPath(layer.digest), layer, feed, true, options.signal);
    yield await Promise.race([arrivals.failed, part]);
    options.onProgress?.({ layer: layer.digest, done: true });
  }
}
