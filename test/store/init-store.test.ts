import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { openStore } from '../../src/store/open-store.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { randomBlob } from './blobs.ts';
import { newStore } from './open.ts';
import { commitInto } from './resolved.ts';

for (const version of ['2', '1.1', '{"format":9}', 'x'.repeat(10_000)]) {
  test(`a store of version ${version.slice(0, 20)} is refused with a hint, and not touched`, async (t) => {
    const directory = await tempDirectory(t, 'store');
    await mkdir(join(directory, 'quayctl'));
    await writeFile(join(directory, 'quayctl', 'version'), version);
    await assert.rejects(openStore(directory), (error) => {
      assert.ok(isQuayctlError(error, 'store'));
      assert.match(error.hint ?? '', /--store/);
      return true;
    });
    assert.deepEqual(await readdir(directory, { recursive: true }), ['quayctl', 'quayctl/version']);
  });
}

test('a layout of another major version is refused, and not touched', async (t) => {
  const directory = await tempDirectory(t, 'store');
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
  await assert.rejects(openStore(directory), { code: 'store' });
  assert.deepEqual(await readdir(directory), ['oci-layout']);
});

for (const name of ['oci-layout', 'quayctl/version']) {
  test(`a store whose ${name} is empty is repaired`, async (t) => {
    const { store, directory } = await newStore(t);
    const blob = randomBlob(10);
    await commitInto(store, blob);
    const before = await readFile(join(directory, name), 'utf8');
    await writeFile(join(directory, name), '');
    const again = await openStore(directory);
    t.after(() => again.close());
    assert.equal(await readFile(join(directory, name), 'utf8'), before);
    assert.equal(await again.stat(blob.descriptor.digest), 10);
  });
}

test('a store in a path that is a file, or below one, is refused in words', async (t) => {
  const directory = await tempDirectory(t, 'store');
  const file = join(directory, 'file');
  await writeFile(file, 'text');
  for (const path of [file, join(file, 'below')]) await assert.rejects(openStore(path), { code: 'store' });
  assert.equal(await readFile(file, 'utf8'), 'text');
});
