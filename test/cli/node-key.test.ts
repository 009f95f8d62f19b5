import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openNodeKey } from '../../src/cli/node-key.ts';
import type { Session } from '../../src/cli/session.ts';
import { tempDirectory } from '../helpers/temp.ts';

interface Machine {
  readonly path: string;
  readonly warnings: string[];
  readonly open: () => Promise<string>;
}

async function machine(t: TestContext): Promise<Machine> {
  const home = await tempDirectory(t, 'node-key');
  const warnings: string[] = [];
  const session = { env: {}, home } as unknown as Session;
  return {
    path: join(home, '.local/state/quayctl/node.key'),
    warnings,
    open: async () => (await openNodeKey(session, (message) => warnings.push(message))).thumbprint,
  };
}

test('the key is made when it is needed first, for its owner alone, and stays', async (t) => {
  const { path, warnings, open } = await machine(t);
  const opened = await Promise.all(Array.from({ length: 8 }, open));
  assert.deepEqual(new Set(opened).size, 1);
  assert.equal(await open(), opened[0]);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.match(await readFile(path, 'utf8'), /PRIVATE KEY/);
  assert.deepEqual(warnings, []);
});

for (const [what, spoil] of [
  ['others may read', (path: string) => chmod(path, 0o644)],
  ['a group may write', (path: string) => chmod(path, 0o660)],
  ['lies where others may write', (path: string) => chmod(dirname(path), 0o777)],
  ['is a link', (path: string) => rename(path, `${path}.old`).then(() => symlink(`${path}.old`, path))],
  ['is no key', (path: string) => writeFile(path, 'nothing')],
  [
    'is a directory',
    (path: string) => rename(path, `${path}.old`).then(() => mkdir(path, 0o700).then(() => {})),
  ],
] as const) {
  test(`a key that ${what} is passed over, with a warning, and the run has one of its own`, async (t) => {
    const { path, warnings, open } = await machine(t);
    const first = await open();
    await spoil(path);
    assert.notEqual(await open(), first);
    assert.match(warnings.join(), /node\.key is not used \(.+\); this run has a key of its own/);
    assert.ok(!warnings.join().includes('PRIVATE'));
  });
}

const notRoot = process.getuid?.() === 0 ? false : 'needs root';

test('a key of another user is passed over', { skip: notRoot }, async (t) => {
  const { path, warnings, open } = await machine(t);
  const first = await open();
  await chown(path, 65_534, 65_534);
  assert.notEqual(await open(), first);
  assert.match(warnings.join(), /belongs to another user/);
});
