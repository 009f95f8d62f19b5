import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { isForeignLayer, layerCompression } from '../../src/image/media-types.ts';

describe('a layer is compressed as its media type says', () => {
  // media type, compression, foreign
  const table: [string, string, boolean][] = [
    ['application/vnd.docker.image.rootfs.diff.tar', 'none', false],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'gzip', false],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'zstd', false],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar', 'none', true],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'gzip', true],
    ['application/vnd.oci.image.layer.v1.tar', 'none', false],
    ['application/vnd.oci.image.layer.v1.tar+gzip', 'gzip', false],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'zstd', false],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', 'none', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'gzip', true],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'zstd', true],
  ];
  for (const [mediaType, compression, foreign] of table) {
    test(mediaType, () => {
      assert.equal(layerCompression(mediaType), compression);
      assert.equal(isForeignLayer(mediaType), foreign);
    });
  }

  for (const mediaType of [
    'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    'application/vnd.oci.image.layer.v1.tar+bzip2',
    'application/vnd.oci.image.layer.v2.tar',
    'application/vnd.wasm.content.layer.v1+wasm',
    'application/octet-stream',
    'application/vnd.oci.empty.v1+json',
  ]) {
    test(`${mediaType} is unsupported`, () => {
      assert.throws(
        () => layerCompression(mediaType),
        (error) => isQuayctlError(error, 'unsupported') && error.message.includes(mediaType),
      );
      assert.equal(isForeignLayer(mediaType), false);
    });
  }
});
