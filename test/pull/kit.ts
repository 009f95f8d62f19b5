import { QuayctlError } from '../../src/base/errors.ts';
import type { Engine, EnginePresence } from '../../src/engines/engine.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import type { ManifestDocument, ResolvedImage } from '../../src/image/manifest.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../../src/image/media-types.ts';
import { parseImageReference, type ImageReference } from '../../src/image/reference.ts';
import type { PullEvent } from '../../src/pull/events.ts';
import type { PullContext } from '../../src/pull/pull-context.ts';
import type { PullRequest } from '../../src/pull/request.ts';
import type { TorrentAnswer } from '../../src/registry/repository.ts';
import type { Store } from '../../src/store/store.ts';
import { BlobStage, descriptorOf, NO_TORRENT } from '../blobs/kit.ts';
import { delay } from '../../src/base/retry.ts';

export const REFERENCE = parseImageReference('registry.test/team/app:1');
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

/** An image in memory. */
export class MemoryImage {
  readonly blobs = new Map<Digest, Buffer>();
  readonly layers: readonly Descriptor[];
  readonly document: ManifestDocument;

  /** @param change of the manifest before it is hashed */
  constructor(layers: readonly Buffer[], change: (manifest: { layers: Descriptor[] }) => void = () => {}) {
    this.layers = layers.map((layer) => ({ ...this.#add(layer), mediaType: LAYER_TYPE }));
    const config = Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
      }),
    );
    const manifest = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { ...this.#add(config), mediaType: OCI_CONFIG },
      layers: [...this.layers],
    };
    change(manifest);
    const bytes = Buffer.from(JSON.stringify(manifest));
    this.document = { descriptor: { ...descriptorOf(bytes), mediaType: OCI_MANIFEST }, bytes };
  }

  #add(content: Buffer): Descriptor {
    const blob = descriptorOf(content);
    this.blobs.set(blob.digest, content);
    return blob;
  }
}

/** Everything that a pull needs, without disk, network and engine. */
export class PullStage extends BlobStage {
  readonly told: PullEvent[] = [];
  readonly recorded: ImageReference[] = [];
  readonly fullStore = Object.assign(this.store, {
    lease: async () => ({ close: async () => {} }),
    gc: async () => ({ freed: 0, left: 0 }),
    assertRoom: async () => {},
    blobFile: (digest: Digest) => `/${digest}`,
    recordImage: async ({ reference }: ResolvedImage) => void this.recorded.push(reference),
    findImage: async () => undefined,
  });
  /** Answers of the torrent service about each blob, one after the other; the last again and again. */
  readonly answers = new Map<Digest, TorrentAnswer[]>();
  /** Milliseconds that 64 KiB of the registry take. */
  chunkMs = 0;
  failing: QuayctlError | undefined;
  /** Blobs that the registry was asked for, in order. */
  readonly asked: Digest[] = [];

  context(image: MemoryImage, engine?: Engine): PullContext {
    const listener = (event: PullEvent): void => void this.told.push(event);
    const blob = async function* (
      this: PullStage,
      { digest }: Descriptor,
      start: number,
      end: number,
      signal: AbortSignal,
    ): AsyncGenerator<Uint8Array> {
      this.asked.push(digest);
      for (let at = start; at < end; at += 65536) {
        await delay(this.chunkMs, signal);
        if (this.failing !== undefined) throw this.failing;
        yield image.blobs.get(digest)?.subarray(at, Math.min(end, at + 65536)) ?? Buffer.of();
      }
    }.bind(this);
    const torrent = async ({ digest }: Descriptor): Promise<TorrentAnswer> => {
      const answers = this.answers.get(digest) ?? [NO_TORRENT];
      return (answers.length > 1 ? answers.shift() : answers[0]) ?? NO_TORRENT;
    };
    const missing = async (): Promise<never> => {
      throw new QuayctlError('not-found', 'not in this test');
    };
    return {
      // Of the whole Store a pull uses these few methods.
      store: this.fullStore as unknown as Store,
      downloads: this.downloads,
      listener,
      repository: { manifest: async () => image.document, blob, elsewhere: blob },
      torrents: {
        ...{ torrent, squashed: missing, serviceKeys: missing, manifest: missing },
        ...{ report: missing, connectBack: missing },
      },
      ...(engine === undefined ? {} : { engine }),
    };
  }

  request(changes: Partial<PullRequest> = {}): PullRequest {
    return {
      reference: REFERENCE,
      hostPlatform: { os: 'linux', architecture: 'amd64' },
      destination: { kind: 'store' },
      recordDigest: false,
      rules: { skipWebSeed: false, waitForPeersMs: 2000, trackers: [], offlineOk: false },
      onReceipt: () => {},
      seedMs: 0,
      ...changes,
    };
  }
}

/** An engine that takes layers in order, and remembers when each was there. */
export class MemoryEngine implements Engine {
  readonly name = 'memory';
  has: EnginePresence | undefined;
  readonly loaded: Digest[] = [];
  failure: QuayctlError | undefined;

  async platform(): Promise<{ os: string; architecture: string }> {
    return { os: 'linux', architecture: 'amd64' };
  }

  async presence({ manifest }: ResolvedImage): Promise<EnginePresence> {
    return this.has ?? { image: false, layers: manifest.layers.map(() => false) };
  }

  load: Engine['load'] = async ({ manifest, config }, feed, { presence }) => {
    for (const [at, { digest }] of manifest.layers.entries()) {
      if (presence.layers[at] === true) continue;
      await feed.ready(digest);
      if (this.failure !== undefined) throw this.failure;
      this.loaded.push(digest);
    }
    return { id: digestOf(config.bytes), digestRecorded: false };
  };
}
