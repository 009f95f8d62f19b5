import { QuayctlError } from '../base/errors.ts';
import { digestOf, parseDigest, type Digest } from './digest.ts';
import { fieldOf, list, object, optionalText, parseJsonObject, text, type JsonObject } from './json.ts';
import { MAX_CONFIG_BYTES, type ImageConfig, type ImageManifest } from './manifest.ts';

const MAX_LAYERS = 1000;
/** One entry for each line of a Dockerfile; those that make no layer count too. */
const MAX_HISTORY = 10_000;
const MAX_PLATFORM_FIELD = 128;

/**
 * An image config (OCI image-spec config.md; Docker's is the same). The digest of the bytes is the caller's to
 * check. `os` is `linux` where an old builder left it out, `architecture` is empty then.
 * @param manifest that names this config: each of its layers must have its diff ID here
 * @throws QuayctlError `limit`, `protocol`; `unsupported` for diff IDs that are no SHA-256; `verification` where
 *   config and manifest are not of one image
 */
export function parseImageConfig(bytes: Uint8Array, manifest?: ImageManifest): ImageConfig {
  const json = parseJsonObject(bytes, 'image config', MAX_CONFIG_BYTES);
  const field = (key: string): string | undefined => {
    const value = fieldOf(json, key);
    const shown = typeof value === 'string' ? value.replaceAll(/\p{Cc}/gu, '') : value;
    return optionalText(shown, `image config: ${key}`, MAX_PLATFORM_FIELD);
  };
  const variant = field('variant');
  list(fieldOf(json, 'history'), 'image config: history', MAX_HISTORY);
  const diffIds = parseDiffIds(json);
  if (manifest !== undefined && manifest.layers.length !== diffIds.length) {
    const layers = manifest.layers.length;
    throw new QuayctlError(
      'verification',
      `the manifest has ${layers} layers, its config ${diffIds.length} diff IDs`,
    );
  }
  return {
    os: field('os') ?? 'linux',
    architecture: field('architecture') ?? '',
    ...(variant === undefined ? {} : { variant }),
    diffIds,
    bytes,
  };
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
  // An image without layers may come without any of this.
  const rootfs = object(fieldOf(json, 'rootfs') ?? {}, 'image config: rootfs');
  if ((fieldOf(rootfs, 'type') ?? 'layers') !== 'layers')
    throw new QuayctlError('protocol', 'image config: rootfs.type is not "layers"');
  const diffIds = list(fieldOf(rootfs, 'diff_ids'), 'image config: rootfs.diff_ids', MAX_LAYERS);
  return diffIds.map((diffId) => parseDigest(text(diffId, 'image config: diff ID', 1024)));
}
