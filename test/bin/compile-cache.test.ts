import assert from 'node:assert/strict';
import { chmod, chown, lstat, mkdir, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { run, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const LOADER = join(import.meta.dirname, '../../bin/compile-cache.js');
const NOBODY = 65_534;

interface Place {
  readonly cache: string;
  /** Runs a program that asks for the cache; tells whether it got it. */
  readonly used: () => Promise<boolean>;
}

async function place(scope: Scope): Promise<Place> {
  const directory = await tempDirectory(scope, 'compile-cache');
  const [file, cache] = [join(directory, 'main.cjs'), join(directory, 'cache/code')];
  await writeFile(file, 'exports.answer = () => 42;');
  const program = `
    require(${JSON.stringify(LOADER)}).enableOwnCompileCache(${JSON.stringify(cache)});
    const { answer } = require(${JSON.stringify(file)});
    console.log(answer(), require('node:module').getCompileCacheDir() !== undefined);`;
  return {
    cache,
    used: async () => {
      // scripts/test keeps a cache for the tests by this variable.
      const { NODE_COMPILE_CACHE: _, ...env } = process.env;
      const { code, stdout, stderr } = await run(process.execPath, ['-e', program], { env });
      assert.deepEqual([code, stderr], [0, '']);
      const [answer, used] = stdout.trim().split(' ');
      assert.equal(answer, '42', 'the program runs with or without the cache');
      return used === 'true';
    },
  };
}

/** The file that Node keeps, one folder down. */
async function kept(cache: string): Promise<string> {
  const [folder = ''] = await readdir(cache);
  const [file = ''] = await readdir(join(cache, folder));
  return join(cache, folder, file);
}

test('what is compiled is kept for its user alone', async (t) => {
  const { cache, used } = await place(t);
  assert.equal(await used(), true);
  assert.equal((await lstat(cache)).mode & 0o777, 0o700);
  assert.ok((await lstat(await kept(cache))).isFile());
  assert.equal(await used(), true);
});

for (const mode of [0o770, 0o702, 0o777]) {
  test(`a directory of mode ${mode.toString(8)} is passed over`, async (t) => {
    const { cache, used } = await place(t);
    await mkdir(cache, { recursive: true });
    await chmod(cache, mode);
    assert.equal(await used(), false);
    assert.deepEqual(await readdir(cache), [], 'nothing is written there either');
  });
}

test('a kept file that others may write to is passed over', async (t) => {
  const { cache, used } = await place(t);
  await used();
  await chmod(await kept(cache), 0o666);
  assert.equal(await used(), false);
});

test('a link in place of the directory, or of a kept file, is passed over', async (t) => {
  const { cache, used } = await place(t);
  await used();
  const file = await kept(cache);
  await rename(file, `${cache}.moved`);
  await symlink(`${cache}.moved`, file);
  assert.equal(await used(), false);
  await rename(cache, `${cache}.real`);
  await symlink(`${cache}.real`, cache);
  assert.equal(await used(), false);
});

test("another user's directory, folder or file is passed over", { skip: skipWithout('root') }, async (t) => {
  const { cache, used } = await place(t);
  await used();
  const file = await kept(cache);
  for (const path of [file, join(file, '..'), cache]) {
    await chown(path, NOBODY, NOBODY);
    assert.equal(await used(), false, path);
    await chown(path, 0, 0);
    assert.equal(await used(), true);
  }
});

test('a place where nothing can be written costs time and nothing else', async (t) => {
  const { cache, used } = await place(t);
  await mkdir(join(cache, '..'), { recursive: true });
  await writeFile(cache, 'a file in the way');
  assert.equal(await used(), false);
});
