import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');

test('docs/architecture.md names files that are there, and every room', async () => {
  const text = await readFile(join(ROOT, 'docs/architecture.md'), 'utf8');
  const named = [...text.matchAll(/`([a-z0-9-]+(?:\/[a-z0-9-]+)+\.ts)`/g)].map(([, path]) => path ?? '');
  assert.ok(named.length > 15, `only ${named.length} files named`);
  for (const path of named) await assert.doesNotReject(access(join(SRC, path)), `src/${path}`);
  const rooms = readdirSync(SRC, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of rooms) assert.ok(text.includes(`\`${name}\``), `the room ${name} is described`);
});

test('CONTRIBUTING.md names files that are there', async () => {
  const text = await readFile(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const named = [...text.matchAll(/`((?:src|test|scripts|docs)\/[\w./-]+\w)`/g)].map(
    ([, path]) => path ?? '',
  );
  assert.ok(named.length > 15, `only ${named.length} files named`);
  for (const path of named) await assert.doesNotReject(access(join(ROOT, path)), path);
});

test('documents of this project that comments cite are in the tree, and have the section that is cited', async () => {
  const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  let cited = 0;
  for (const source of sources) {
    const code = (await readFile(join(SRC, source), 'utf8')).replaceAll(/\n\s*\*\s/g, ' ');
    assert.doesNotMatch(
      code,
      /(?<!docs\/)\b(?:protocol|architecture|limits|failures|swarm|cli)\.md/,
      `src/${source}`,
    );
    for (const [, path = '', , section] of code.matchAll(/(docs\/[a-z-]+\.md)(,? \(?"([^"]+)")?/g)) {
      cited++;
      const text = await readFile(join(ROOT, path), 'utf8').catch(() => '');
      assert.notEqual(text, '', `src/${source} cites ${path}, which is not there`);
      const headings = text.split('\n').filter((line) => line.startsWith('#'));
      const isThere = section === undefined || headings.some((line) => line.endsWith(`# ${section}`));
      assert.ok(isThere, `src/${source} cites ${path}, "${section}", which is not there`);
    }
  }
  assert.ok(cited > 10, `only ${cited} citations found`);
});
