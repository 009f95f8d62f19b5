import { QuayctlError } from '../base/errors.ts';
import { digestOf, parseDigest, type Digest } from './digest.ts';
import { list, object, optionalText, parseJsonObject, text, type JsonObject } from './json.ts';
import type { ImageConfig, ImageManifest } from './manifest.ts';

/** Docker and containerd stop at 8 MiB as well; real ones have some KiB, labels with SBOMs some hundred. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024;
const MAX_LAYERS = 1000;
/** One entry for each line of a Dockerfile; those that make no layer count too. */
const MAX_HISTORY = 10_000;
const MAX_PLATFORM_FIELD = 128;

/**
 * An image config (OCI image-spec config.md; Docker's is the same). The digest of the bytes is the caller's to
 * check. `os` is `linux` where an old builder left it out, `architecture` is empty then.
 * @throws QuayctlError `limit`, `protocol`; `unsupported` for diff IDs that are no SHA-256
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const json = parseJsonObject(bytes, 'image config', MAX_CONFIG_BYTES);
  const field = (key: string): string | undefined =>
    optionalText(json[key], `image config: ${key}`, MAX_PLATFORM_FIELD);
  const variant = field('variant');
  list(json['history'] ?? null, 'image config: history', MAX_HISTORY);
  return {
    os: field('os') ?? 'linux',
    architecture: field('architecture') ?? '',
    ...(variant === undefined ? {} : { variant }),
    diffIds: parseDiffIds(json),
    bytes,
  };
}

/**
 * Each layer of the manifest has its diff ID in the config, or the two are not of one image.
 * @throws QuayctlError `verification`
 */
export function checkConfigFits(manifest: ImageManifest, config: ImageConfig): void {
  const [layers, diffIds] = [manifest.layers.length, config.diffIds.length];
  if (layers === diffIds) return;
  throw new QuayctlError('verification', `the manifest has ${layers} layers, its config ${diffIds} diff IDs`);
}

/**
 * The ChainIDs of a stack of layers, base first: what an engine knows an applied stack by (OCI image-spec
 * config.md, "Layer ChainID").
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

function parseDiffIds(json: JsonObject): Digest[] {
  const rootfs = object(json['rootfs'], 'image config: rootfs');
  if (rootfs['type'] !== 'layers')
    throw new QuayctlError('protocol', 'image config: rootfs.type is not "layers"');
  const diffIds = list(rootfs['diff_ids'], 'image config: rootfs.diff_ids', MAX_LAYERS);
  return diffIds.map((diffId) => parseDigest(text(diffId, 'image config: diff ID', 1024)));
}
