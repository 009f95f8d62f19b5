import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf } from '../../src/image/digest.ts';
import {
  blobPath,
  checkLayoutFile,
  CONTAINERD_NAME,
  layoutFile,
  layoutIndex,
  parseLayoutIndex,
  REF_NAME,
} from '../../src/image/layout.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.ts';

const ENTRY: Descriptor = {
  mediaType: OCI_MANIFEST,
  digest: digestOf(Buffer.from('manifest')),
  size: 8,
  annotations: { [REF_NAME]: '1.0', [CONTAINERD_NAME]: 'quay.io/team/app:1.0' },
  platform: { os: 'windows', architecture: 'amd64', osVersion: '10.0.20348.1' },
};

test('an index that is written reads back, and is what OCI tools expect', () => {
  const written = layoutIndex([ENTRY, { ...ENTRY, mediaType: OCI_INDEX }]);
  assert.deepEqual(parseLayoutIndex(written).manifests, [ENTRY, { ...ENTRY, mediaType: OCI_INDEX }]);
  const json = JSON.parse(Buffer.from(written).toString()) as { manifests: { platform: object }[] };
  assert.deepEqual(Object.keys(json), ['schemaVersion', 'mediaType', 'manifests']);
  assert.deepEqual(json.manifests[0]?.platform, {
    os: 'windows',
    architecture: 'amd64',
    'os.version': '10.0.20348.1',
  });
});

test('an index without a media type is read, as umoci and skopeo write it', () => {
  assert.deepEqual(parseLayoutIndex(Buffer.from('{"schemaVersion":2,"manifests":[]}')).manifests, []);
});

test('an index holds thousands of images', () => {
  assert.equal(
    parseLayoutIndex(layoutIndex(Array(20_000).fill(ENTRY) as Descriptor[])).manifests.length,
    20_000,
  );
});

test('a damaged or foreign layout is refused', () => {
  const index: [string, ErrorCode][] = [
    ['', 'protocol'],
    ['[]', 'protocol'],
    ['{"schemaVersion":1,"manifests":[]}', 'protocol'],
    [`{"schemaVersion":2,"mediaType":"${OCI_MANIFEST}","manifests":[]}`, 'protocol'],
    ['{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}', 'protocol'],
  ];
  for (const [text, code] of index) {
    assert.throws(
      () => parseLayoutIndex(Buffer.from(text)),
      (error) => isQuayctlError(error, code),
      text,
    );
  }
  for (const text of ['{"schemaVersion":2}', '{"manifests":[]}']) {
    assert.deepEqual(parseLayoutIndex(Buffer.from(text)).manifests, []);
  }
  checkLayoutFile(layoutFile());
  checkLayoutFile(Buffer.from('{"imageLayoutVersion": "1.1.0", "more": 7}\n'));
  for (const text of ['{"imageLayoutVersion":"2.0.0"}', '{}', '{"imageLayoutVersion":1}']) {
    assert.throws(
      () => checkLayoutFile(Buffer.from(text)),
      (error) => isQuayctlError(error, 'unsupported'),
      text,
    );
  }
  assert.throws(
    () => checkLayoutFile(Buffer.from('x')),
    (error) => isQuayctlError(error, 'protocol'),
  );
});

test('a blob lies under its algorithm and digits', () => {
  assert.equal(blobPath(ENTRY.digest), `blobs/sha256/${ENTRY.digest.slice(7)}`);
});
