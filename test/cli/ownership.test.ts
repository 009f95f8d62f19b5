import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertOwn } from '../../src/base/ownership.ts';
import { openPrivateFile } from '../../src/store/disk.ts';
import { TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';

const NOBODY = 65_534;
const skip = skipWithout('root');

test(
  'what another user owns or may write to is refused, and what is not there is not',
  { skip },
  async (t) => {
    const folder = await tempDirectory(t);
    const uid = process.getuid?.();
    const rule = { uid, what: 'the thing' };
    const place = join(folder, 'place');
    await assertOwn(place, rule);
    await mkdir(place, { mode: 0o755 });
    await assertOwn(place, rule);
    for (const mode of [0o775, 0o757, 0o1777]) {
      await chmod(place, mode);
      await assert.rejects(
        assertOwn(place, rule),
        { code: 'store', message: /others may write/ },
        String(mode),
      );
    }
    await chmod(place, 0o770);
    await assertOwn(place, { ...rule, allowsGroupOfRoot: true });
    await chmod(place, 0o700);
    await chown(place, NOBODY, NOBODY);
    await assert.rejects(assertOwn(place, rule), { code: 'store', message: /uid 65534/ });
    const link = join(folder, 'link');
    await symlink(place, link);
    await assert.rejects(assertOwn(link, rule), { code: 'store' });
  },
);

test('serve uses no data directory and no secret file of another user', { skip }, async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const node = await quayctlNode(t);
  const data = await tempDirectory(t, 'data');
  const secret = join(data, 'secret.json');
  const serve = [
    'serve',
    '--upstream',
    `oci:${layout.directory}`,
    '--listen',
    '127.0.0.1:0',
    '--admin-listen',
    'none',
  ];
  await chown(data, NOBODY, NOBODY);
  const refused = await node.run([...serve, '--data', data]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /the data directory .* belongs to another user/);
  assert.match(refused.stderr, /hint:/);
  // As that user, which is what root becomes for it, a file of root's cannot be reached by a link.
  const rootsOwn = join(await tempDirectory(t, 'root'), 'secret');
  await writeFile(rootsOwn, '{}', { mode: 0o600 });
  await symlink(rootsOwn, secret);
  const rotated = await node.run(['serve', 'rotate-key', '--data', data]);
  assert.notEqual(rotated.code, 0);
  assert.equal(await readFile(rootsOwn, 'utf8'), '{}');
  await rm(secret);
  await chown(data, 0, 0);
  await writeFile(secret, '{}', { mode: 0o666 });
  await chmod(secret, 0o666);
  const { code, stderr } = await node.run([...serve, '--data', data]);
  assert.notEqual(code, 0);
  assert.match(stderr, /others may write to the secret file/);
});

test(
  'a store of another user is refused, and a link in a store is not written through',
  { skip },
  async (t) => {
    const node = await quayctlNode(t);
    const store = await tempDirectory(t, 'store');
    await chown(store, NOBODY, NOBODY);
    const { code, stderr } = await node.run([
      ...['docker', 'torrent', 'pull', 'registry.test/app:1', '--store', store],
    ]);
    assert.notEqual(code, 0);
    assert.match(stderr, /the store .* belongs to another user/);
    const [victim, link] = [join(store, 'victim'), join(store, 'link')];
    await writeFile(victim, 'untouched');
    await symlink(victim, link);
    await assert.rejects(openPrivateFile(link), { code: 'ELOOP' });
    assert.equal(await readFile(victim, 'utf8'), 'untouched');
  },
);
