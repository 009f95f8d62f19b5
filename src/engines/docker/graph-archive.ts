import { digestHex, type Digest } from '../../image/digest.ts';
import type { RunnableImage } from '../../image/manifest.ts';
import type { ArchivePart } from '../archive.ts';
import { prefixConfig } from '../prefix-config.ts';

/** An image as `docker load` gets it: its config and names, and its layers base first. */
export interface LoadedConfig {
  readonly bytes: Uint8Array;
  readonly id: Digest;
  /** `name:tag`, never with a digest: Docker takes those for granted and records nothing. */
  readonly names: readonly string[];
  readonly count: number;
}

/** The image itself. */
export function wholeImage(image: RunnableImage, names: readonly string[]): LoadedConfig {
  return {
    bytes: image.config.bytes,
    id: image.manifest.config.digest,
    names,
    count: image.config.diffIds.length,
  };
}

/** An image without a name of the first `count` layers: it keeps them in the engine until all are there. */
export function prefixImage(image: RunnableImage, count: number, label: string): LoadedConfig {
  return { ...prefixConfig(image, count, label), names: [], count };
}

/** The two files before the layers (moby image/tarexport/load.go). Layer files may be missing where applied before. */
export function* archiveHead(config: LoadedConfig): Generator<ArchivePart> {
  const name = `${digestHex(config.id)}.json`;
  const Layers = Array.from({ length: config.count }, (_, at) => layerName(at));
  const manifest = [{ Config: name, RepoTags: config.names.length === 0 ? null : config.names, Layers }];
  yield { name: 'manifest.json', bytes: Buffer.from(JSON.stringify(manifest)) };
  yield { name, bytes: config.bytes };
}

export function layerName(at: number): string {
  return `L${String(at).padStart(4, '0')}.tar`;
}

/** `open /var/lib/docker/tmp/docker-import-123/L0003.tar: no such file or directory`: from 3 on they are missing. */
export function firstMissingLayer(refusal: string): number | undefined {
  const at = /\/L(\d{4})\.tar: no such file/.exec(refusal)?.[1];
  return at === undefined ? undefined : Number(at);
}
