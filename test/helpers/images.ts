import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildLayer, type BuiltLayer, type LayerSpec } from './layers.ts';

export interface ImageSpec {
  readonly layers: readonly LayerSpec[];
  /** Media types; default oci. */
  readonly format?: 'oci' | 'docker';
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
  /** `config` of the image config, e.g. `{ Cmd: ['/bin/sh'] }`. */
  readonly run?: Readonly<Record<string, unknown>>;
}

export interface BuiltDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface BuiltImage {
  readonly manifest: BuiltDescriptor;
  readonly config: BuiltDescriptor;
  readonly layers: readonly BuiltLayer[];
}

export interface BuiltIndex {
  readonly index: BuiltDescriptor;
  readonly images: readonly BuiltImage[];
}

const TYPES = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    none: 'application/vnd.oci.image.layer.v1.tar',
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    none: 'application/vnd.docker.image.rootfs.diff.tar',
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  },
} as const;

/** This machine's architecture in Go's words, so that engines run what is built. */
const HERE = process.arch === 'x64' ? 'amd64' : process.arch;

/** An OCI image layout in a directory; images are added to it. */
export class TestLayout {
  readonly directory: string;
  readonly #refs: BuiltDescriptor[] = [];

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(directory: string): Promise<TestLayout> {
    await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
    await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const layout = new TestLayout(directory);
    await layout.#writeIndex();
    return layout;
  }

  /** Builds an image and, with `ref`, names it in index.json. */
  async addImage(spec: ImageSpec, ref?: string): Promise<BuiltImage> {
    const { format = 'oci', os = 'linux', architecture = HERE, variant } = spec;
    const types = TYPES[format];
    const layers: BuiltLayer[] = [];
    for (const layer of spec.layers)
      layers.push(await buildLayer(join(this.directory, 'blobs/sha256'), layer));
    const platform = { architecture, os, ...(variant === undefined ? {} : { variant }) };
    const config = await this.addJson(types.config, {
      ...platform,
      created: '1970-01-01T00:00:00Z',
      config: spec.run ?? {},
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
      history: layers.map((_, at) => ({ created: '1970-01-01T00:00:00Z', created_by: `layer ${at}` })),
    });
    const manifest = await this.addJson(types.manifest, {
      schemaVersion: 2,
      mediaType: types.manifest,
      config,
      layers: layers.map(({ digest, size, compression }) => ({
        mediaType: types[compression],
        digest,
        size,
      })),
    });
    if (ref !== undefined) await this.name(manifest, ref);
    return { manifest: { ...manifest, platform }, config, layers };
  }

  /** An index over several platforms. */
  async addIndex(specs: readonly ImageSpec[], ref?: string): Promise<BuiltIndex> {
    const images: BuiltImage[] = [];
    for (const spec of specs) images.push(await this.addImage(spec));
    const mediaType = TYPES[specs[0]?.format ?? 'oci'].index;
    const manifests = images.map((image) => image.manifest);
    const index = await this.addJson(mediaType, { schemaVersion: 2, mediaType, manifests });
    if (ref !== undefined) await this.name(index, ref);
    return { index, images };
  }

  /** Any bytes as a blob. */
  async addBlob(mediaType: string, bytes: Uint8Array): Promise<BuiltDescriptor> {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(this.blobPath(`sha256:${hex}`), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  }

  addJson(mediaType: string, value: unknown): Promise<BuiltDescriptor> {
    return this.addBlob(mediaType, Buffer.from(JSON.stringify(value)));
  }

  /** Names a manifest or index in index.json (`org.opencontainers.image.ref.name`). */
  async name(descriptor: BuiltDescriptor, ref: string): Promise<void> {
    const annotations = { ...descriptor.annotations, 'org.opencontainers.image.ref.name': ref };
    this.#refs.push({ ...descriptor, annotations });
    await this.#writeIndex();
  }

  blobPath(digest: string): string {
    return join(this.directory, 'blobs/sha256', digest.slice('sha256:'.length));
  }

  blob(digest: string): Promise<Buffer> {
    return readFile(this.blobPath(digest));
  }

  #writeIndex(): Promise<void> {
    const index = { schemaVersion: 2, mediaType: TYPES.oci.index, manifests: this.#refs };
    return writeFile(join(this.directory, 'index.json'), JSON.stringify(index));
  }
}

/** Bytes that do not compress, so that blobs have about the size asked for. */
export function randomLayer(bytes: number, seed: string): LayerSpec {
  return { entries: [{ name: `data/${seed}`, content: { random: bytes, seed } }] };
}
