import { QuayctlError } from '../../base/errors.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import { formatReference } from '../../image/reference.ts';
import type { Platform } from '../../image/platform.ts';
import type { BlobFeed, Engine, EnginePresence, LoadedImage, LoadOptions } from '../engine.ts';
import { DockerClient } from './client.ts';
import { dockerEndpoint, formatEndpoint, type DockerEndpoint } from './endpoint.ts';
import { askFacts, type EngineFacts } from './daemon-info.ts';
import { explain } from './failures.ts';
import { loadIntoGraph } from './graph-load.ts';
import { presenceInGraph } from './graph-presence.ts';
import { taggedNames } from './names.ts';
import { loadIntoOci } from './oci-load.ts';
import { presenceInOci } from './oci-presence.ts';
import { recordDigest } from './record-digest.ts';
import { temporaryLabel } from './temporary-images.ts';

/**
 * Docker, or what speaks its API. Nothing is asked yet.
 * @throws QuayctlError `engine` where DOCKER_HOST or the context cannot be used
 */
export async function openDocker(env: Readonly<Record<string, string | undefined>>): Promise<Engine> {
  const endpoint = await dockerEndpoint(env);
  try {
    return new DockerEngine(endpoint);
  } catch (error) {
    // docker-modem looks into the process's own environment before it takes what it is given.
    throw new QuayctlError('engine', `Docker: the settings for ${formatEndpoint(endpoint)} cannot be used`, {
      cause: error,
      hint: 'check DOCKER_HOST and DOCKER_CERT_PATH',
    });
  }
}

class DockerEngine implements Engine {
  readonly name = 'docker';
  readonly #endpoint: DockerEndpoint;
  readonly #client: DockerClient;
  #facts: EngineFacts | undefined;

  constructor(endpoint: DockerEndpoint) {
    this.#endpoint = endpoint;
    this.#client = new DockerClient(endpoint);
  }

  platform(signal: AbortSignal): Promise<Platform> {
    return this.#explained('Docker', signal, async () => (await this.#ask(signal)).platform);
  }

  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence> {
    const what = `Docker: looking for ${formatReference(image.reference)}`;
    return this.#explained(what, signal, async () => {
      const { store } = await this.#ask(signal);
      const label = temporaryLabel(image.manifest.config.digest);
      return store === 'graph'
        ? presenceInGraph(this.#client, image, label, signal)
        : presenceInOci(this.#client, image, store, label, signal);
    });
  }

  load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage> {
    const what = `Docker: loading ${formatReference(image.reference)}`;
    return this.#explained(what, options.signal, async () => {
      const facts = await this.#ask(options.signal);
      if (facts.store !== 'graph') return loadIntoOci(this.#client, image, feed, options, facts);
      await loadIntoGraph(this.#client, image, feed, options, taggedNames(options.names), facts.zstd);
      const digestRecorded =
        options.recordDigest && (await recordDigest(this.#client, image, facts.platform, options.signal));
      return { id: image.manifest.config.digest, names: options.names, digestRecorded };
    });
  }

  async #ask(signal: AbortSignal): Promise<EngineFacts> {
    return (this.#facts ??= await askFacts(this.#client, signal));
  }

  async #explained<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      throw explain(error, what, this.#endpoint, signal);
    }
  }
}
