import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { assertLayerType } from '../../src/image/media-types.ts';

describe('types of layers', () => {
  for (const mediaType of [
    'application/vnd.docker.image.rootfs.diff.tar',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
    'application/vnd.docker.image.rootfs.diff.tar.zstd',
    'application/vnd.docker.image.rootfs.diff.tar+zstd',
    'application/vnd.docker.image.rootfs.foreign.diff.tar',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.docker.container.image.rootfs.diff+x-gtar',
    'application/vnd.oci.image.layer.v1.tar',
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.oci.image.layer.v1.tar+zstd',
    'application/vnd.oci.image.layer.v1.tar+estargz',
    'application/vnd.oci.image.layer.v1.tar+bzip2',
    'application/vnd.oci.image.layer.v1.tar+gzip; charset=utf-8',
    'APPLICATION/VND.OCI.IMAGE.LAYER.V1.TAR+GZIP',
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/octet-stream',
  ]) {
    test(`${mediaType} is one`, () => assertLayerType(mediaType));
  }

  for (const mediaType of [
    'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    'application/vnd.oci.image.layer.v1.tar+zstd+Encrypted; a=b',
    'application/vnd.oci.image.layer.v2.tar',
    'application/vnd.oci.image.layer.v1.tarball',
    'application/vnd.wasm.content.layer.v1+wasm',
    'application/vnd.in-toto+json',
    'application/vnd.oci.empty.v1+json',
    '',
  ]) {
    test(`${mediaType} is unsupported`, () => {
      assert.throws(
        () => assertLayerType(mediaType),
        (error) => isQuayctlError(error, 'unsupported') && error.message.includes(mediaType),
      );
    });
  }
});
