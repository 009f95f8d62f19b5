import { QuayctlError } from '../../base/errors.ts';
import { attestationsListed } from '../../image/attestations.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import type { Platform } from '../../image/platform.ts';
import { digestName } from '../../image/reference.ts';
import { streamed } from '../archive.ts';
import type { ImageStore } from '../docker-api/api-engine.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { isAtLeast, type DaemonFacts } from '../docker-api/daemon-facts.ts';
import { survivingRestarts } from '../docker-api/wait-for-daemon.ts';
import type { BlobFeed, EnginePresence, LoadedImage, LoadOptions } from '../engine.ts';
import { ociDocuments, ociImage } from '../oci-archive.ts';
import { attestationParts, attestationsInTime, loadIntoContainerd } from './containerd-load.ts';
import { presenceInContainerd } from './containerd-presence.ts';
import { isForeign, isRunnable, targetOf } from './containerd-record.ts';
import { TemporaryImages } from './temporary-images.ts';

const CLEANUP_MS = 5000;

/**
 * containerd's image store, the default of new Docker installations since 29. An image's ID is the digest of its
 * index, or of its manifest where it has no index, and its repository digest is known without asking the registry.
 */
export class ContainerdStore implements ImageStore {
  readonly #client: DockerClient;
  readonly #facts: DaemonFacts;

  constructor(client: DockerClient, facts: DaemonFacts) {
    this.#client = client;
    this.#facts = facts;
  }

  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence> {
    return presenceInContainerd(this.#client, image, this.#facts, signal);
  }

  /**
   * The image is loaded without a name, looked at, and named only then: what `docker images` shows by a name can be
   * run. Docker drops the nameless record by itself once the image has a name.
   */
  async load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage> {
    const id = targetOf(image);
    const { presence, names } = options;
    const name = digestNameOf(image, names);
    if (presence.image && name === undefined) {
      await this.#addAttestations(image, feed, options);
      await this.#finish(image, options);
      return { id, digestRecorded: names.length > 0 };
    }
    const temporary = new TemporaryImages(this.#client, image.manifest.config.digest);
    try {
      const target = { name, foreign: this.#foreign(image) };
      await loadIntoContainerd(this.#client, image, feed, options, target, temporary);
      if (target.foreign !== undefined && target.foreign !== 'never')
        await this.#unpackForeign(image, target.foreign, temporary, options.signal);
      const finished = survivingRestarts(this.#client, options.signal, () => this.#finish(image, options));
      await Promise.all([finished, temporary.remove()]);
    } catch (error) {
      await Promise.all([this.#removeIncomplete(image, name), temporary.remove()]);
      throw error;
    }
    return { id, digestRecorded: names.length > 0 || name !== undefined };
  }

  #foreign(image: RunnableImage): Platform | 'never' | undefined {
    if (!isForeign(image, this.#facts.platform)) return undefined;
    const { os, architecture, variant } = image.config;
    return isAtLeast(this.#facts.apiVersion, 1, 48)
      ? { os, architecture, ...(variant === undefined ? {} : { variant }) }
      : 'never';
  }

  /**
   * As `docker pull --platform` does. Asked for a platform, the engine insists on all that an archive names, so it is
   * shown the manifest in place of the index. Its config is the image's own, which keeps the layers from then on.
   */
  async #unpackForeign(
    image: RunnableImage,
    platform: Platform,
    temporary: TemporaryImages,
    signal: AbortSignal,
  ): Promise<void> {
    const alone = ociImage(image, undefined, false);
    if (alone.digest !== targetOf(image) && (await this.#client.inspect(alone.digest, signal)) === undefined)
      temporary.add(alone.digest);
    await survivingRestarts(this.#client, signal, () =>
      this.#client.load(streamed(ociDocuments(alone)), signal, platform),
    );
  }

  /** What an earlier pull had to leave out, or a `docker load` did not bring. `docker pull` adds it, too. */
  async #addAttestations(image: RunnableImage, feed: BlobFeed, { signal }: LoadOptions): Promise<void> {
    const listed = attestationsListed(image);
    if (listed.length === 0 || feed.attestations === undefined) return;
    try {
      const record = await this.#client.inspect(targetOf(image), signal);
      const there = new Set(record?.manifests.flatMap((each) => (each.available ? each.digest : [])));
      if (listed.every(({ digest }) => there.has(digest))) return;
      const fetched = await attestationsInTime(feed.attestations(signal));
      if (fetched.length === 0) return;
      const whole = ociImage(image, undefined, true);
      await this.#client.load(streamed([...attestationParts(fetched), ...ociDocuments(whole)]), signal);
    } catch {
      // The image runs without them.
      signal.throwIfAborted();
    }
  }

  /** @throws QuayctlError `engine` */
  async #finish(image: RunnableImage, { names, signal }: LoadOptions): Promise<void> {
    await survivingRestarts(this.#client, signal, async () => {
      await this.#assertRunnable(image, signal);
      for (const name of names) await this.#client.tag(targetOf(image), name, signal);
    });
  }

  /** @throws QuayctlError `engine` */
  async #assertRunnable(image: RunnableImage, signal: AbortSignal): Promise<void> {
    // Older engines tell a failed unpack by the answer to the load alone.
    if (!isAtLeast(this.#facts.apiVersion, 1, 48)) return;
    const record = await this.#client.inspect(targetOf(image), signal);
    if (record !== undefined && isRunnable(record, image, this.#facts.platform)) return;
    throw new QuayctlError('engine', 'Docker has the image, but not all of its layers', {
      hint: 'something removed them in the meantime; pull it again',
    });
  }

  /** Removes a record without a name; images that other names stand for belong to the user. */
  async #removeIncomplete(image: RunnableImage, ownName: string | undefined): Promise<void> {
    const signal = AbortSignal.timeout(CLEANUP_MS);
    try {
      const record = await this.#client.inspect(targetOf(image), signal);
      if (record === undefined || isRunnable(record, image, this.#facts.platform)) return;
      const names = new Set([...record.repoTags, ...record.repoDigests]);
      if (ownName !== undefined) names.delete(ownName);
      if (names.size === 0) await this.#client.remove(targetOf(image), signal);
      else if (ownName !== undefined) await this.#client.remove(ownName, signal);
    } catch {
      // The failure that led here says more.
    }
  }
}

/**
 * `REPOSITORY@DIGEST` for an image that was asked for by its digest alone. Tagging cannot give such a name, so the
 * load itself does.
 */
function digestNameOf({ reference }: RunnableImage, names: readonly unknown[]): string | undefined {
  if (names.length > 0 || reference.digest === undefined) return undefined;
  return digestName(reference, reference.digest);
}
