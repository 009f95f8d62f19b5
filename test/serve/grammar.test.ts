import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blobName, isRepository, isTag, pathComponents, resource } from '../../src/http-server/path.ts';
import { contentRange, wantedRange } from '../../src/http-server/range.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

test('a Range header means what RFC 9110 says, several ranges are refused', () => {
  const part = (start: number, end: number) => ({ kind: 'part', start, end });
  for (const [header, wanted] of [
    [undefined, { kind: 'all' }],
    ['bytes=0-9', part(0, 10)],
    ['bytes=90-200', part(90, 100)],
    ['bytes=5-', part(5, 100)],
    ['bytes=-5', part(95, 100)],
    ['bytes=-500', part(0, 100)],
    ['bytes=99-99', part(99, 100)],
    ['bytes=100-', { kind: 'unsatisfiable' }],
    ['bytes=-0', { kind: 'unsatisfiable' }],
    ['bytes=0-1,5-6', { kind: 'unsatisfiable' }],
    [`bytes=${'0-,'.repeat(1000)}`, { kind: 'unsatisfiable' }],
    ['bytes=9-5', { kind: 'all' }],
    ['bytes=-', { kind: 'all' }],
    ['bytes=a-b', { kind: 'all' }],
    ['bytes=1-99999999999999999999', { kind: 'all' }],
    ['items=0-5', { kind: 'all' }],
    ['', { kind: 'all' }],
  ] as const) {
    assert.deepEqual(wantedRange(header, 100), wanted, header);
  }
  assert.equal(contentRange({ start: 0, end: 10 }, 100), 'bytes 0-9/100');
});

test('components are decoded one by one, and nothing climbs', () => {
  for (const [path, wanted] of [
    ['/v2/', ['v2', '']],
    ['/v2/a%2Fb/c', undefined],
    ['/v2/a%2fb/c', undefined],
    ['/v2/a%20b/c', ['v2', 'a b', 'c']],
    ['/v2/../c1', ['v2', '..', 'c1']],
    ['/v2/%2e%2e', ['v2', '..']],
    ['/%zz', undefined],
    ['http://host/v2/', undefined],
    ['*', undefined],
    ['', undefined],
  ] as const) {
    assert.deepEqual(pathComponents(path), wanted, path);
  }
});

test('paths are parsed from the right', () => {
  const blob = (repository: string) => ({ repository, digest: DIGEST });
  for (const [path, wanted] of [
    [`a/blobs/${DIGEST}`, blob('a')],
    [`a/b/c/blobs/${DIGEST}`, blob('a/b/c')],
    [`blobs/blobs/${DIGEST}`, blob('blobs')],
    [`a/blobs/${DIGEST}/blobs/${DIGEST}`, undefined],
    [`blobs/${DIGEST}`, undefined],
    [`a/blobs/${DIGEST.toUpperCase()}`, undefined],
    [`a/blobs/sha512:${'a'.repeat(128)}`, undefined],
    [`A/blobs/${DIGEST}`, undefined],
    [`../blobs/${DIGEST}`, undefined],
    [`a//b/blobs/${DIGEST}`, undefined],
    [`${'a/'.repeat(200)}a/blobs/${DIGEST}`, undefined],
  ] as const) {
    assert.deepEqual(blobName(path.split('/')), wanted, path);
  }
  // An encoded slash is no separator.
  assert.equal(blobName(['a/../b', 'blobs', DIGEST]), undefined);
});

test('what the distribution API knows is a resource, the rest is none', () => {
  const repository = 'team/app';
  for (const [path, wanted] of [
    ['', { kind: 'base' }],
    [`${repository}/tags/list`, { kind: 'tags', repository }],
    [`${repository}/manifests/1.0`, { kind: 'manifest', repository, selector: '1.0' }],
    [`${repository}/manifests/${DIGEST}`, { kind: 'manifest', repository, selector: DIGEST }],
    [`${repository}/blobs/${DIGEST}`, { kind: 'blob', repository, digest: DIGEST }],
    ['manifests/manifests/manifests', { kind: 'manifest', repository: 'manifests', selector: 'manifests' }],
    ['_catalog', undefined],
    [`${repository}/blobs/uploads/`, undefined],
    [`${repository}/manifests/..`, undefined],
    [`${repository}/manifests/sha256:ab`, undefined],
    [`${repository}/manifests/a@${DIGEST}`, undefined],
    ['manifests/1.0', undefined],
  ] as const) {
    assert.deepEqual(resource(path.split('/')), wanted, path);
  }
});

test('names that would mean something else in a reference are none', () => {
  for (const name of ['', 'a:1', `a@${DIGEST}`, 'a b', 'a\n', 'a?b', 'a#b', '-a', 'a/', 'Ä']) {
    assert.equal(isRepository(name), false, name);
  }
  for (const tag of ['', '.a', `a@${DIGEST}`, 'a/b', 'a:b', 'x'.repeat(129)])
    assert.equal(isTag(tag), false, tag);
});
