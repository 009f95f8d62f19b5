import { orAborted } from '../../base/abort.ts';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { QuayctlError } from '../../base/errors.ts';
import type { Platform } from '../../image/platform.ts';
import { repositoryName, type TaggedReference } from '../../image/reference.ts';
import { archive, type ArchivePart } from '../archive.ts';
import type { ApiEndpoint } from './endpoint.ts';
import { DockerRefusal } from './failures.ts';
import { readMessages, type DockerMessage } from './messages.ts';

/** What `GET /images/json` tells of one image. */
export interface ListedImage {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly labels: Readonly<Record<string, string>>;
}

type Dial = (request: object, done: (error: Error | null, body: unknown) => void) => void;

/** What an inspection tells. */
export interface InspectedImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** From API 1.48 on, where images lie in containerd: each manifest that the image's index names. */
  readonly manifests: readonly InspectedManifest[];
}

/** One platform of an image in containerd's store. */
export interface InspectedManifest {
  readonly digest: string;
  /** Whether every blob of it is there, config and layers. */
  readonly available: boolean;
  /** Bytes of the unpacked layers; 0 where they are not unpacked. */
  readonly unpackedBytes: number;
}

/**
 * How long the daemon may take to answer an upload that was aborted: until then it is not known whether it has taken
 * the image, and a connection that breaks makes it keep what it has received. Milliseconds.
 */
const SETTLE_MS = 3000;

/**
 * The few calls of the Docker Engine API (v1.41 documentation) that loading needs. All fail with what Node's http
 * fails with, with DockerRefusal where the daemon says no, or with what the caller's own parts fail with.
 */
export class DockerClient {
  readonly #docker: Docker;

  constructor(endpoint: ApiEndpoint) {
    this.#docker = new Docker(connectOptions(endpoint));
  }

  async version(signal: AbortSignal): Promise<Record<string, unknown>> {
    return record(await this.#get('/version', signal));
  }

  async info(signal: AbortSignal): Promise<Record<string, unknown>> {
    return record(await this.#get('/info', signal));
  }

  async ping(signal: AbortSignal): Promise<void> {
    await this.#get('/_ping', signal);
  }

  /** Undefined where there is no such image. */
  async inspect(name: string, signal: AbortSignal): Promise<InspectedImage | undefined> {
    try {
      // Engines that do not know `manifests` ignore it.
      const image = record(await this.#get(`/images/${name}/json`, signal, { manifests: 1 }));
      return {
        id: String(image['Id']),
        repoTags: texts(image['RepoTags']),
        repoDigests: texts(image['RepoDigests']),
        manifests: inspectedManifests(image['Manifests']),
      };
    } catch (error) {
      if (error instanceof DockerRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  async list(label: string | undefined, signal: AbortSignal): Promise<ListedImage[]> {
    const filters = label === undefined ? {} : { filters: { label: [label] } };
    const images: unknown = await this.#call(
      signal,
      this.#docker.listImages({ ...filters, abortSignal: signal }),
    );
    return (Array.isArray(images) ? images : []).map((image) => {
      const { Id, Created, Labels } = record(image);
      return { id: String(Id), created: Number(Created), labels: record(Labels) as Record<string, string> };
    });
  }

  /** @param name an ID, or any name that the image has by now */
  async tag(name: string, reference: TaggedReference, signal: AbortSignal): Promise<void> {
    const options = { repo: repositoryName(reference), tag: reference.tag, abortSignal: signal };
    await this.#call(signal, this.#docker.getImage(name).tag(options));
  }

  /** Removes one image (or name), and nothing below it. One that is not there is no failure. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    try {
      const options = { noprune: true, abortSignal: signal };
      await this.#call(signal, this.#docker.getImage(name).remove(options));
    } catch (error) {
      if (!(error instanceof DockerRefusal && error.status === 404)) throw error;
    }
  }

  /**
   * `docker load`.
   * @param platform has containerd's store unpack that platform in place of its own, and refuse what lacks a part of
   *   it (from API 1.48 on)
   * @returns the daemon's messages but for progress
   */
  async load(
    parts: AsyncIterable<ArchivePart>,
    signal: AbortSignal,
    platform?: Platform,
  ): Promise<DockerMessage[]> {
    const { body, failure } = archive(parts, signal);
    return this.#upload(body, failure, signal, (abortSignal) =>
      // quiet: the progress of the daemon's own steps is not shown, and not sending it saves both sides work.
      this.#docker.loadImage(body, {
        quiet: true,
        abortSignal,
        ...(platform === undefined ? {} : { platform: JSON.stringify(platform) }),
      }),
    );
  }

  /** `docker import`: one layer, compressed or not, becomes an image. @returns its ID */
  async importLayer(layer: Readable, label: string, signal: AbortSignal): Promise<string> {
    let failure: Error | undefined;
    layer.once('error', (error) => (failure = error));
    // A layer that ends early could pass for a complete one, so its connection is broken off.
    const abort = (): void => void layer.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    layer.once('close', () => signal.removeEventListener('abort', abort));
    const messages = await this.#upload(
      layer,
      () => failure,
      signal,
      (abortSignal) => {
        const options = { changes: `LABEL ${label}`, abortSignal };
        return this.#docker.importImage(layer, options);
      },
    );
    const id = messages.findLast(({ status }) => status?.startsWith('sha256:'))?.status;
    if (id === undefined) throw new QuayctlError('engine', 'Docker: an import without an image ID');
    return id;
  }

  /** `docker pull` by digest. `onMessage` may abort what goes further than it should. */
  async pullDigest(
    repo: string,
    digest: string,
    platform: string | undefined,
    onMessage: (message: DockerMessage) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const options = { fromImage: repo, tag: digest, abortSignal: signal, ...(platform ? { platform } : {}) };
    const answer = (await this.#call(signal, this.#docker.createImage(options))) as Readable;
    await aborting(answer, signal, () => readMessages(answer, onMessage));
  }

  /**
   * @param failure why the body ended before it was complete, if it did: that is what the caller is told then
   * @param send hands the body over; its signal breaks the connection off
   */
  async #upload(
    body: Readable,
    failure: () => Error | undefined,
    signal: AbortSignal,
    send: (abortSignal: AbortSignal) => Promise<NodeJS.ReadableStream>,
  ): Promise<DockerMessage[]> {
    const cut = new AbortController();
    let settle: NodeJS.Timeout | undefined;
    const abort = (): void => {
      settle = setTimeout(() => cut.abort(signal.reason), SETTLE_MS);
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const answer = (await send(cut.signal).catch(refusal)) as Readable;
      const messages: DockerMessage[] = [];
      await aborting(answer, cut.signal, () =>
        readMessages(answer, (message) => {
          if (message.stream !== undefined || message.id === undefined) messages.push(message);
        }),
      );
      const early = failure();
      if (early !== undefined) throw early;
      return messages;
    } catch (error) {
      throw failure() ?? error;
    } finally {
      clearTimeout(settle);
      signal.removeEventListener('abort', abort);
      body.destroy();
    }
  }

  /** For requests to which dockerode passes no signal. */
  #get(path: string, signal: AbortSignal, query?: Readonly<Record<string, number>>): Promise<unknown> {
    const request = {
      // docker-modem appends the query, and without one takes the last character off a path that has a question mark.
      path: query === undefined ? path : `${path}?`,
      ...(query === undefined ? {} : { options: query }),
      method: 'GET',
      abortSignal: signal,
      statusCodes: { 200: true },
    };
    const dial = this.#docker.modem.dial.bind(this.#docker.modem) as Dial;
    const answer = new Promise((resolve, reject) => {
      dial(request, (error, body) => (error ? reject(error) : resolve(body)));
    });
    return this.#call(signal, answer);
  }

  /** Ends at the signal even where dockerode only ends once the daemon has answered. */
  #call<T>(signal: AbortSignal, request: Promise<T>): Promise<T> {
    return orAborted(request.catch(refusal), signal);
  }
}

/** Every option is given, so that docker-modem takes nothing from the process's own environment. */
function connectOptions(endpoint: ApiEndpoint): Docker.DockerOptions {
  if (endpoint.kind === 'socket') return { socketPath: endpoint.path, ...NOTHING, protocol: 'http' };
  const { host, port, tls } = endpoint;
  if (tls === undefined) return { ...NOTHING, host, port, protocol: 'http' };
  return { ...NOTHING, host, port, protocol: 'https', ...tls };
}

const NOTHING = {
  host: undefined,
  port: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  timeout: undefined,
  pathPrefix: '/',
} as unknown as Docker.DockerOptions;

/** dockerode's error for an HTTP status: what the daemon said is in `json`, or in the text. */
function refusal(error: unknown): never {
  const status = (error as { statusCode?: unknown }).statusCode;
  if (!(error instanceof Error) || typeof status !== 'number') throw error;
  const said = (error as { json?: { message?: unknown } | null }).json?.message;
  throw new DockerRefusal(typeof said === 'string' ? said : error.message, status);
}

async function aborting(answer: Readable, signal: AbortSignal, read: () => Promise<void>): Promise<void> {
  const abort = (): void => void answer.destroy(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await read();
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function inspectedManifests(value: unknown): InspectedManifest[] {
  return (Array.isArray(value) ? value : []).map((manifest) => {
    const { ID, Available, ImageData } = record(manifest);
    const unpackedBytes = Number(record(record(ImageData)['Size'])['Unpacked'] ?? 0);
    return { digest: String(ID), available: Available === true, unpackedBytes };
  });
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
