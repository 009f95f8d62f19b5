import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { limitsDocument } from '../scripts/limits.ts';

const ROOT = join(import.meta.dirname, '..');

test('docs/failures.md names files that are there, and a test for each row', async () => {
  const text = await readFile(join(ROOT, 'docs/failures.md'), 'utf8');
  const named = new Set(text.matchAll(/`((?:test|src|scripts)\/[\w./-]+)`/g).map(([, path]) => path ?? ''));
  assert.ok(named.size > 25, `only ${named.size} files are named`);
  for (const path of named) await assert.doesNotReject(access(join(ROOT, path)), path);

  const rows = text.split('\n').filter((line) => /^\| (?!---)/.test(line));
  for (const row of rows.filter((line) => !/\| shown by +\|$/.test(line))) {
    assert.match(row.split('|').at(-2) ?? '', /`(?:test|scripts)\/[\w./-]+`/, row);
  }
});

test('docs/limits.md is what scripts/limits.ts makes of the source', async () => {
  assert.equal(await readFile(join(ROOT, 'docs/limits.md'), 'utf8'), await limitsDocument());
});
