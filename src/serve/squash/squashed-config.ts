import type { Digest } from '../../image/digest.ts';
import { list, object, parseJsonObject, type JsonObject } from '../../image/json.ts';
import { MAX_CONFIG_BYTES, type ImageConfig } from '../../image/manifest.ts';

const MAX_HISTORY = 10_000;

/**
 * The config of a squashed image (OCI image-spec config.md): all that the image's own says, but one layer. Its history
 * stays, as steps that made no layer, and ends with the one that made this one.
 * @throws QuayctlError `protocol`, `limit`
 */
export function squashedConfig(config: ImageConfig, diffId: Digest, from: Digest): Uint8Array {
  const json = parseJsonObject(config.bytes, 'image config', MAX_CONFIG_BYTES);
  const steps = list(json['history'] ?? null, 'image config: history', MAX_HISTORY).map((step) => ({
    ...object(step, 'image config: history'),
    empty_layer: true,
  }));
  const history = [...steps, squashStep(json, from)];
  return Buffer.from(JSON.stringify({ ...json, rootfs: { type: 'layers', diff_ids: [diffId] }, history }));
}

/** The time is the image's own: the time of squashing would make other bytes each time. */
function squashStep({ created }: JsonObject, from: Digest): JsonObject {
  return {
    ...(typeof created === 'string' ? { created } : {}),
    created_by: 'quayctl squash',
    comment: `squashed from ${from}`,
  };
}
