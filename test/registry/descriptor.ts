import assert from 'node:assert/strict';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { BuiltLayer } from '../helpers/layers.ts';

/** A built layer as a manifest names it. */
export function descriptorOf(layer: BuiltLayer | undefined): Descriptor {
  assert.ok(layer !== undefined);
  return {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: parseDigest(layer.digest),
    size: layer.size,
  };
}
