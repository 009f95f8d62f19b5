import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import type { ImageIndex, ImageManifest } from '../../src/image/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.ts';
import { chooseManifest, walkIndex } from '../../src/image/walk-index.ts';

type Parsed = ImageIndex | ImageManifest;

const digest = (name: string): Digest => digestOf(Buffer.from(name));
const entry = (name: string): ImageIndex['manifests'][number] => ({
  mediaType: OCI_MANIFEST,
  digest: digest(name),
  size: 1,
  platform: { os: 'linux', architecture: 'amd64' },
});
const manifest = (name: string): ImageManifest => ({
  kind: 'manifest',
  mediaType: OCI_MANIFEST,
  config: entry(name),
  layers: [],
});
const index = (...names: string[]): ImageIndex => ({
  kind: 'index',
  mediaType: OCI_INDEX,
  manifests: names.map(entry),
});

/** Documents by their name; `latest` is a tag. */
function source(
  documents: Readonly<Record<string, Parsed>>,
): (selector: string) => Promise<{ parsed: Parsed }> {
  const byDigest = new Map(Object.entries(documents).map(([name, parsed]) => [String(digest(name)), parsed]));
  return (selector) => {
    const parsed = documents[selector] ?? byDigest.get(selector);
    return parsed === undefined ? Promise.reject(new Error(`no ${selector}`)) : Promise.resolve({ parsed });
  };
}

const platform = { os: 'linux', architecture: 'amd64' };

test('a manifest is chosen without being asked for a platform; an index in an index is followed', async () => {
  const alone = await chooseManifest(
    'latest',
    () => assert.fail('nothing to choose'),
    source({ latest: manifest('a') }),
  );
  assert.deepEqual([alone.index, alone.manifest], [undefined, manifest('a')]);
  const outer = index('inner');
  const nested = source({ latest: outer, inner: index('m'), m: manifest('m') });
  const chosen = await chooseManifest('latest', () => platform, nested);
  assert.deepEqual([chosen.index?.parsed, chosen.manifest], [outer, manifest('m')]);
});

test('deeper nesting is refused', async () => {
  const deep = source({ latest: index('a'), a: index('b'), b: index('c'), c: manifest('c') });
  await assert.rejects(
    chooseManifest('latest', () => platform, deep),
    (error) => isQuayctlError(error, 'unsupported'),
  );
});

test('a walk visits every document once, the outermost first, and passes over what cannot be read', async () => {
  const read = source({
    latest: index('a', 'b', 'gone'),
    a: index('m', 'b'),
    b: manifest('b'),
    m: manifest('m'),
  });
  const visited: string[] = [];
  for await (const { selector, parsed } of walkIndex(['latest'], (each) =>
    read(each).then(
      (found) => found.parsed,
      () => undefined,
    ),
  )) {
    visited.push(`${selector} ${parsed?.kind ?? 'nothing'}`);
  }
  assert.deepEqual(visited, [
    'latest index',
    `${digest('a')} index`,
    `${digest('b')} manifest`,
    `${digest('gone')} nothing`,
    `${digest('m')} manifest`,
  ]);
});

test('an index that lists itself ends', async () => {
  const read = source({ latest: index('latest'), [digest('latest')]: index('latest') });
  let count = 0;
  for await (const _ of walkIndex(['latest'], async (each) => (await read(each)).parsed)) count++;
  assert.equal(count, 2);
});
