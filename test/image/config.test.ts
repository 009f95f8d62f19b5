import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { chainIds, parseImageConfig } from '../../src/image/config.ts';
import { digestFromHex, digestOf } from '../../src/image/digest.ts';
import { parseManifest, type ImageManifest } from '../../src/image/manifest.ts';

const [A, B, C] = [digestOf(Buffer.from('a')), digestOf(Buffer.from('b')), digestOf(Buffer.from('c'))];
const CONFIG = {
  architecture: 'arm64',
  os: 'linux',
  variant: 'v8',
  rootfs: { type: 'layers', diff_ids: [A, B, A] },
  history: [{ created_by: 'ADD rootfs /' }, { empty_layer: true }],
  config: { Cmd: ['sh'] },
};

function bytes(json: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(json));
}

function manifestOf(layers: number): ImageManifest {
  const blob = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: A, size: 1 };
  return parseManifest(
    bytes({ schemaVersion: 2, config: blob, layers: Array(layers).fill(blob) }),
  ) as ImageManifest;
}

test('platform, diff IDs and the bytes come through', () => {
  const config = bytes(CONFIG);
  assert.deepEqual(parseImageConfig(config), {
    os: 'linux',
    architecture: 'arm64',
    variant: 'v8',
    diffIds: [A, B, A],
    bytes: config,
  });
});

test('old and sparse configs are read: no os, no architecture, no history, no layers', () => {
  const config = parseImageConfig(bytes({ rootfs: { type: 'layers', diff_ids: null }, history: null }));
  assert.deepEqual([config.os, config.architecture, config.diffIds], ['linux', '', []]);
});

test('what Go reads is read: rootfs empty or missing, names in another case, bytes that are no UTF-8', () => {
  for (const document of [{}, { rootfs: null }, { rootfs: {} }, { rootfs: { type: 'layers' } }]) {
    assert.deepEqual(parseImageConfig(bytes(document)).diffIds, [], JSON.stringify(document));
  }
  const { os, architecture, diffIds } = parseImageConfig(
    bytes({ OS: 'linux', Architecture: 'arm64', RootFS: { Type: 'layers', Diff_IDs: [A] } }),
  );
  assert.deepEqual([os, architecture, diffIds], ['linux', 'arm64', [A]]);
  const latin1 = Buffer.from('{"author":"J\xe9r\xf4me","variant":"v8\\u0007"}', 'latin1');
  assert.equal(parseImageConfig(latin1).variant, 'v8');
});

test('a manifest with another number of layers is not of this config', () => {
  assert.equal(parseImageConfig(bytes(CONFIG), manifestOf(3)).diffIds.length, 3);
  for (const layers of [0, 2, 4]) {
    assert.throws(
      () => parseImageConfig(bytes(CONFIG), manifestOf(layers)),
      (error) => isQuayctlError(error, 'verification') && /3 diff IDs/.test(error.message),
    );
  }
});

describe('what is refused', () => {
  const table: [string, unknown, ErrorCode][] = [
    ['a rootfs of another type', { ...CONFIG, rootfs: { type: 'x', diff_ids: [] } }, 'protocol'],
    ['diff IDs that are no digests', { ...CONFIG, rootfs: { type: 'layers', diff_ids: ['x'] } }, 'protocol'],
    ['diff IDs that are no texts', { ...CONFIG, rootfs: { type: 'layers', diff_ids: [7] } }, 'protocol'],
    [
      'sha512',
      { ...CONFIG, rootfs: { type: 'layers', diff_ids: [`sha512:${'a'.repeat(128)}`] } },
      'unsupported',
    ],
    ['1,001 diff IDs', { ...CONFIG, rootfs: { type: 'layers', diff_ids: Array(1001).fill(A) } }, 'limit'],
    ['a history without end', { ...CONFIG, history: Array(10_001).fill({}) }, 'limit'],
    ['a history that is a text', { ...CONFIG, history: 'x' }, 'protocol'],
    ['an os that is a number', { ...CONFIG, os: 7 }, 'protocol'],
    ['more than 8 MiB', { ...CONFIG, author: 'x'.repeat(8 * 1024 * 1024) }, 'limit'],
    ['a list', [], 'protocol'],
  ];
  for (const [what, document, code] of table) {
    test(what, () => {
      assert.throws(
        () => parseImageConfig(bytes(document)),
        (error) => isQuayctlError(error, code),
      );
    });
  }
});

test('ChainIDs are those of the OCI image-spec', () => {
  // config.md: ChainID(A, B, C) = SHA-256(ChainID(A, B) + " " + C); computed here with sha256sum.
  assert.deepEqual(chainIds([]), []);
  assert.deepEqual(chainIds([A]), [A]);
  assert.deepEqual(chainIds([A, B, C]), [
    A,
    digestFromHex('51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676'),
    digestFromHex('2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106'),
  ]);
});
