import type { RunnableImage } from '../../image/manifest.ts';
import type { ImageStore } from '../docker-api/api-engine.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { isAtLeast, type DaemonFacts } from '../docker-api/daemon-facts.ts';
import type { BlobFeed, EnginePresence, LoadedImage, LoadOptions } from '../engine.ts';
import { loadIntoGraph } from './graph-load.ts';
import { presenceInGraph } from './graph-presence.ts';
import { recordDigest } from './record-digest.ts';
import { temporaryLabel } from './temporary-images.ts';

/** Docker's own layer store (overlay2 and other graph drivers). An image's ID is the digest of its config. */
export class GraphdriverStore implements ImageStore {
  readonly #client: DockerClient;
  readonly #facts: DaemonFacts;

  constructor(client: DockerClient, facts: DaemonFacts) {
    this.#client = client;
    this.#facts = facts;
  }

  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence> {
    return presenceInGraph(this.#client, image, temporaryLabel(image.manifest.config.digest), signal);
  }

  async load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage> {
    const { apiVersion, platform } = this.#facts;
    // Docker reads zstd layers from 23.0 (API 1.42) on.
    await loadIntoGraph(this.#client, image, feed, options, isAtLeast(apiVersion, 1, 42));
    const digestRecorded =
      options.recordDigest && (await recordDigest(this.#client, image, platform, options.signal));
    return { id: image.manifest.config.digest, digestRecorded };
  }
}
