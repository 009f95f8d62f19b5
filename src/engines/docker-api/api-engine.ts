import type { RunnableImage } from '../../image/manifest.ts';
import type { Platform } from '../../image/platform.ts';
import { formatReference } from '../../image/reference.ts';
import { QuayctlError } from '../../base/errors.ts';
import type { BlobFeed, Engine, EnginePresence, LoadedImage, LoadOptions } from '../engine.ts';
import { DockerClient } from './client.ts';
import { formatEndpoint, type ApiEndpoint } from './endpoint.ts';
import { DockerRefusal, explain, type EngineWords } from './failures.ts';
import { Comebacks, isRestarting, survivingRestarts } from './wait-for-daemon.ts';

/** How an engine keeps images, and so how it is asked for them and in which form it takes them. */
export interface ImageStore {
  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence>;
  load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage>;
}

/** What the first contact with an engine tells. */
export interface Contact {
  readonly platform: Platform;
  readonly store: ImageStore;
  /** `Docker 29.1.0, containerd's image store` */
  readonly description: string;
}

/** An engine behind the Docker Engine API. The first contact decides which of its stores takes the images. */
export class ApiEngine implements Engine {
  readonly name: string;
  readonly #words: EngineWords;
  readonly #endpoint: ApiEndpoint;
  readonly #client: DockerClient;
  readonly #firstContact: (client: DockerClient, signal: AbortSignal) => Promise<Contact>;
  #contact: Contact | undefined;

  /** @throws QuayctlError `engine` where the process's own settings cannot be used */
  constructor(
    name: string,
    words: EngineWords,
    endpoint: ApiEndpoint,
    firstContact: (client: DockerClient, signal: AbortSignal) => Promise<Contact>,
  ) {
    this.name = name;
    this.#words = words;
    this.#endpoint = endpoint;
    this.#firstContact = firstContact;
    try {
      this.#client = new DockerClient(endpoint);
    } catch (error) {
      // docker-modem looks into the process's own environment before it takes what it is given.
      const what = `${words.title}: the settings for ${formatEndpoint(endpoint)} cannot be used`;
      const hint = `check ${words.variable} and DOCKER_CERT_PATH`;
      throw new QuayctlError('engine', what, { cause: error, hint });
    }
  }

  platform(signal: AbortSignal): Promise<Platform> {
    return this.#explained('first contact', signal, async () => (await this.#contacted(signal)).platform);
  }

  describe(signal: AbortSignal): Promise<string> {
    return this.#explained('first contact', signal, async () => (await this.#contacted(signal)).description);
  }

  presence(image: RunnableImage, signal: AbortSignal): Promise<EnginePresence> {
    return this.#explained(`looking for ${formatReference(image.reference)}`, signal, async () =>
      survivingRestarts(this.#client, signal, async () => {
        const { store } = await this.#contacted(signal);
        await this.#assertName(image, signal);
        return store.presence(image, signal);
      }),
    );
  }

  load(image: RunnableImage, feed: BlobFeed, options: LoadOptions): Promise<LoadedImage> {
    const { signal } = options;
    return this.#explained(`loading ${formatReference(image.reference)}`, signal, async () =>
      (await this.#contacted(signal)).store.load(image, feed, options),
    );
  }

  /** Docker 20.10 knows no IPv6 address in a name, and would say so only once it has the whole image. */
  async #assertName({ reference }: RunnableImage, signal: AbortSignal): Promise<void> {
    if (!reference.registry.startsWith('[')) return;
    const name = formatReference(reference);
    try {
      await this.#client.inspect(name, signal);
    } catch (error) {
      if (!(error instanceof DockerRefusal && error.status === 400)) throw error;
      const what = `this ${this.#words.title} takes no name with an IPv6 address, which ${name} is`;
      const hint =
        'give the registry a host name; `quayctl torrent pull --output FILE.tar` takes the address';
      throw new QuayctlError('engine', what, { cause: error, hint });
    }
  }

  async #contacted(signal: AbortSignal): Promise<Contact> {
    if (this.#contact !== undefined) return this.#contact;
    const ask = (): Promise<Contact> => this.#firstContact(this.#client, signal);
    try {
      this.#contact = await ask();
    } catch (error) {
      if (!(await isRestarting(error, this.#endpoint))) throw error;
      // The engine was there a moment ago.
      await new Comebacks(this.#client, signal).after(error);
      this.#contact = await survivingRestarts(this.#client, signal, ask);
    }
    return this.#contact;
  }

  async #explained<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      throw explain(error, what, this.#endpoint, this.#words, signal);
    }
  }
}
