import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';
import type { BlobFeed } from '../../src/engines/engine.ts';
import { parseImageConfig } from '../../src/image/config.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { parseManifest, type ManifestDocument, type RunnableImage } from '../../src/image/manifest.ts';
import { parseImageReference } from '../../src/image/reference.ts';

/** One entry of a layer: a file with its content, or another kind of entry. */
export type LayerEntry =
  | { readonly path: string; readonly text: string | Buffer }
  | { readonly path: string; readonly hardLinkTo: string }
  | { readonly path: string; readonly directory: true };

export interface SampleLayer {
  readonly entries: readonly LayerEntry[];
  readonly compression?: 'gzip' | 'zstd' | 'none';
  /** The config says that the layer is this one. */
  readonly falseDiffId?: Digest;
}

export interface SampleOptions {
  readonly name?: string;
  readonly cmd?: readonly string[];
  readonly mediaTypes?: 'oci' | 'docker';
  /** With an index, which names an image for another platform besides. */
  readonly index?: boolean;
  readonly architecture?: string;
}

/** An image in memory, complete: engines get it blob by blob. */
export interface SampleImage {
  readonly image: RunnableImage;
  /** Of the layers. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

const OCI_LAYER = { gzip: 'tar+gzip', zstd: 'tar+zstd', none: 'tar' };

export async function sampleImage(
  layers: readonly SampleLayer[],
  options: SampleOptions = {},
): Promise<SampleImage> {
  const docker = options.mediaTypes === 'docker';
  const blobs = new Map<Digest, Buffer>();
  const diffIds: Digest[] = [];
  const descriptors: Descriptor[] = [];
  for (const layer of layers) {
    const tar = await layerTar(layer.entries);
    const compression = layer.compression ?? 'gzip';
    const blob = { gzip: gzip, zstd: zstdCompressSync, none: (plain: Buffer) => plain }[compression](tar);
    diffIds.push(layer.falseDiffId ?? digestOf(tar));
    blobs.set(digestOf(blob), blob);
    const mediaType = docker
      ? 'application/vnd.docker.image.rootfs.diff.tar.gzip'
      : `application/vnd.oci.image.layer.v1.${OCI_LAYER[compression]}`;
    descriptors.push({ mediaType, digest: digestOf(blob), size: blob.length });
  }
  const config = json({
    architecture: options.architecture ?? hostArchitecture(),
    os: 'linux',
    created: '2024-01-02T03:04:05Z',
    config: { Cmd: options.cmd ?? ['/bin/cat', '/greeting'] },
    history: layers.map((_, at) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${at}` })),
    rootfs: { type: 'layers', diff_ids: diffIds },
  });
  const manifestType = docker
    ? 'application/vnd.docker.distribution.manifest.v2+json'
    : 'application/vnd.oci.image.manifest.v1+json';
  const configType = docker
    ? 'application/vnd.docker.container.image.v1+json'
    : 'application/vnd.oci.image.config.v1+json';
  const document = manifestDocument(manifestType, {
    config: { mediaType: configType, digest: digestOf(config), size: config.length },
    layers: descriptors,
  });
  const manifest = parseManifest(document.bytes, manifestType);
  if (manifest.kind !== 'manifest') throw new Error('not a manifest');
  const reference = parseImageReference(options.name ?? 'quay.example/ns/app:1');
  const image: RunnableImage = {
    reference,
    document,
    manifest,
    config: parseImageConfig(config, manifest),
    ...(options.index === true ? { index: indexOf(document) } : {}),
  };
  return { image, blobs };
}

/** Blobs as the pull gives them out; which are ready is the test's to say. */
export class TestFeed implements BlobFeed {
  readonly #blobs: ReadonlyMap<Digest, Buffer>;
  readonly #ready = new Map<Digest, PromiseWithResolvers<void>>();
  /** What was read, in order. */
  readonly streamed: Digest[] = [];
  readonly waitedFor = new Set<Digest>();

  constructor({ blobs }: SampleImage, ready: 'all' | 'none' = 'all') {
    this.#blobs = blobs;
    for (const digest of blobs.keys()) {
      const arrival = Promise.withResolvers<void>();
      arrival.promise.catch(() => undefined);
      this.#ready.set(digest, arrival);
      if (ready === 'all') arrival.resolve();
    }
  }

  arrive(digest: Digest): void {
    this.#ready.get(digest)?.resolve();
  }

  fail(digest: Digest, error: Error): void {
    this.#ready.get(digest)?.reject(error);
  }

  async ready(digest: Digest): Promise<void> {
    this.waitedFor.add(digest);
    await this.#ready.get(digest)?.promise;
  }

  stream(digest: Digest): Promise<Readable> {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return Promise.reject(new Error(`no blob ${digest}`));
    this.streamed.push(digest);
    return Promise.resolve(Readable.from(chunks(blob)));
  }
}

/** Bytes that do not compress, as those of real layers of this size. */
export function noise(bytes: number): Buffer {
  return randomBytes(bytes);
}

export function hostArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}

function* chunks(blob: Buffer): Generator<Buffer> {
  for (let at = 0; at < blob.length; at += 65_536) yield blob.subarray(at, at + 65_536);
}

function gzip(plain: Buffer): Buffer {
  return gzipSync(plain, { level: 1 });
}

async function layerTar(entries: readonly LayerEntry[]): Promise<Buffer> {
  const tar = pack();
  const mtime = new Date('2024-01-02T03:04:05Z');
  for (const entry of entries) {
    if ('text' in entry) tar.entry({ name: entry.path, mode: 0o755, mtime }, entry.text);
    else if ('directory' in entry) tar.entry({ name: entry.path, mode: 0o755, mtime, type: 'directory' });
    else tar.entry({ name: entry.path, mtime, type: 'link', linkname: entry.hardLinkTo });
  }
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const chunk of tar) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

function indexOf(document: ManifestDocument): ManifestDocument {
  const other = manifestDocument('application/vnd.oci.image.manifest.v1+json', { of: 'another platform' });
  return manifestDocument('application/vnd.oci.image.index.v1+json', {
    manifests: [
      { ...document.descriptor, platform: { os: 'linux', architecture: hostArchitecture() } },
      { ...other.descriptor, platform: { os: 'linux', architecture: 's390x' } },
    ],
  });
}

function manifestDocument(mediaType: string, content: object): ManifestDocument {
  const bytes = json({ schemaVersion: 2, mediaType, ...content });
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
