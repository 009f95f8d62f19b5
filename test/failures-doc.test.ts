import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');

test('docs/failures.md names files that are there, a test for each row, and constants that are so called', async () => {
  const text = await readFile(join(ROOT, 'docs/failures.md'), 'utf8');
  const named = new Set(text.matchAll(/`((?:test|src|scripts)\/[\w./-]+)`/g).map(([, path]) => path ?? ''));
  assert.ok(named.size > 25, `only ${named.size} files are named`);
  for (const path of named) await assert.doesNotReject(access(join(ROOT, path)), path);

  const rows = text.split('\n').filter((line) => /^\| (?!---)/.test(line));
  for (const row of rows.filter((line) => !/\| (?:shown by|where) +\|$/.test(line))) {
    const cells = row.split('|');
    const place = /`((?:test|src|scripts)\/[\w./-]+)`/.exec(cells.at(-2) ?? '')?.[1];
    assert.ok(place !== undefined, row);
    if (!place.startsWith('src/')) continue;
    for (const [, constant = ''] of (cells.at(-3) ?? '').matchAll(/`([A-Z_]+)`/g)) {
      assert.match(await readFile(join(ROOT, place), 'utf8'), new RegExp(`\\b${constant}\\b`), place);
    }
  }
});
