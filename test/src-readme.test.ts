import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { test } from 'node:test';

test('the files that src/README.md names are there', async () => {
  const src = new URL('../src/', import.meta.url);
  const text = await readFile(new URL('README.md', src), 'utf8');
  const named = [...text.matchAll(/`([a-z-]+(?:\/[a-z-]+)+\.ts)`/g)].map(([, path]) => path ?? '');
  assert.ok(named.length > 15, `only ${named.length} files named`);
  for (const path of named) await assert.doesNotReject(access(new URL(path, src)), `src/${path}`);
});
