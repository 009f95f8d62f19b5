import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';

export const OCI = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;
export const DOCKER = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
} as const;
const SUFFIXES = {
  oci: { none: '', gzip: '+gzip', zstd: '+zstd' },
  docker: { none: '', gzip: '.gzip', zstd: '.zstd' },
} as const;

export interface OddLayer {
  readonly blob: Buffer;
  /** Digest of the tar inside, as the config shall have it. */
  readonly diffId: string;
  readonly mediaType: string;
}

export interface OddImage {
  readonly manifest: Buffer;
  readonly mediaType: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Digest of the config. */
  readonly id: string;
  readonly layers: readonly OddLayer[];
  readonly blobs: ReadonlyMap<string, Buffer>;
}

/** Fields that take the place of the right ones; a function gets the right value; undefined leaves the field out. */
type Changes = Readonly<Record<string, unknown>>;

export interface OddImageOptions {
  readonly format?: 'oci' | 'docker';
  readonly config?: Changes;
  /** In place of the whole config. */
  readonly rawConfig?: Buffer | string;
  readonly configType?: string;
  readonly manifest?: Changes;
  readonly rawManifest?: (manifest: string) => string | Buffer;
  /** In the manifest and as Content-Type. */
  readonly mediaType?: string;
}

export function digestOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function oddLayer(
  tar: Buffer,
  {
    compression = 'gzip',
    format = 'oci',
    ...odd
  }: {
    readonly compression?: 'none' | 'gzip' | 'zstd';
    readonly format?: 'oci' | 'docker';
    readonly mediaType?: string;
    /** In place of the compressed tar. */
    readonly blob?: Buffer;
    readonly diffId?: string;
  } = {},
): OddLayer {
  const pack = { none: (bytes: Buffer) => bytes, gzip: gzipSync, zstd: zstdCompressSync }[compression];
  const base = format === 'oci' ? OCI.layer : DOCKER.layer;
  return {
    blob: odd.blob ?? pack(tar),
    diffId: odd.diffId ?? digestOf(tar),
    mediaType: odd.mediaType ?? `${base}${SUFFIXES[format][compression]}`,
  };
}

export function oddImage(layers: readonly OddLayer[], odd: OddImageOptions = {}): OddImage {
  const types = odd.format === 'docker' ? DOCKER : OCI;
  const config = Buffer.from(
    (odd.rawConfig as Buffer | undefined) ??
      JSON.stringify(
        changed(
          {
            architecture: process.arch === 'x64' ? 'amd64' : process.arch,
            os: 'linux',
            created: '2020-01-01T00:00:00Z',
            config: { Cmd: ['/bin/x'] },
            rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
            history: layers.map((_, at) => ({ created_by: `layer ${at}` })),
          },
          odd.config,
        ),
      ),
  );
  const mediaType = odd.mediaType ?? types.manifest;
  const document = JSON.stringify(
    changed(
      {
        schemaVersion: 2,
        mediaType,
        config: { mediaType: odd.configType ?? types.config, digest: digestOf(config), size: config.length },
        layers: layers.map(({ blob, mediaType: type }) => ({
          mediaType: type,
          digest: digestOf(blob),
          size: blob.length,
        })),
      },
      odd.manifest,
    ),
  );
  const manifest = Buffer.from((odd.rawManifest?.(document) ?? document) as Buffer);
  const blobs = [config, ...layers.map(({ blob }) => blob)];
  return {
    manifest,
    mediaType,
    digest: digestOf(manifest),
    id: digestOf(config),
    layers,
    blobs: new Map(blobs.map((blob) => [digestOf(blob), blob])),
  };
}

function changed(right: Readonly<Record<string, unknown>>, changes: Changes = {}): object {
  const values = Object.entries(changes).map(([name, value]): [string, unknown] => [
    name,
    typeof value === 'function' ? (value as (right: unknown) => unknown)(right[name]) : value,
  ]);
  return { ...right, ...Object.fromEntries(values) };
}
