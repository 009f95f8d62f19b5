import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { run, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';

const LOADER = join(import.meta.dirname, '../../bin/code-cache.js');
const BUNDLE = `exports.main = () => { const add = (a, b) => a + b; return 'answer ' + add(40, 2); };`;

/** A bundle of one line, loaded in a process of its own, as bin/start.js loads the real one. */
async function bundle(scope: Scope): Promise<{ cache: string; load: (source?: string) => Promise<string> }> {
  const directory = await tempDirectory(scope, 'code-cache');
  const [file, cache] = [join(directory, 'main.cjs'), join(directory, 'cache', 'code')];
  const load = async (source = BUNDLE): Promise<string> => {
    await writeFile(file, source);
    const program = `const { loadCached } = require(${JSON.stringify(LOADER)});
      console.log(loadCached(${JSON.stringify(file)}, ${JSON.stringify(cache)}, 'pull').main());`;
    const { code, stdout, stderr } = await run(process.execPath, ['-e', program]);
    assert.deepEqual([code, stderr], [0, '']);
    return stdout.trim();
  };
  return { cache, load };
}

async function only(directory: string): Promise<string> {
  const files = await readdir(directory);
  assert.equal(files.length, 1, files.join());
  return join(directory, files[0] ?? '');
}

test('what a run compiled is kept for its user alone, and taken by the next run', async (t) => {
  const { cache, load } = await bundle(t);
  assert.equal(await load(), 'answer 42');
  const kept = await only(cache);
  assert.equal((await stat(cache)).mode & 0o777, 0o700);
  assert.equal((await stat(kept)).mode & 0o777, 0o600);
  const before = await stat(kept);
  assert.equal(await load(), 'answer 42');
  assert.equal((await stat(kept)).mtimeMs, before.mtimeMs, 'it was good as it was');
});

test('a directory that others may write to is closed to them', async (t) => {
  const { cache, load } = await bundle(t);
  await mkdir(cache, { recursive: true });
  await chmod(cache, 0o777);
  await load();
  assert.equal((await stat(cache)).mode & 0o777, 0o700);
});

for (const [what, damage] of [
  ['is empty', () => Buffer.alloc(0)],
  ['is cut short', (good: Buffer) => good.subarray(0, good.length >> 1)],
  ['is of chance', (good: Buffer) => Buffer.alloc(good.length, 0xa5)],
  ['belongs to another program', (good: Buffer) => Buffer.concat([good.subarray(0, 8), Buffer.alloc(64)])],
] as const) {
  test(`a cache that ${what} is no failure, and is made anew`, async (t) => {
    const { cache, load } = await bundle(t);
    await load();
    const kept = await only(cache);
    const bad = damage(await readFile(kept));
    await writeFile(kept, bad);
    assert.equal(await load(), 'answer 42');
    assert.equal((await readFile(kept)).equals(bad), false);
    assert.equal(await load(), 'answer 42');
  });
}

test('another bundle does not run the code of the former one', async (t) => {
  const { cache, load } = await bundle(t);
  await load();
  assert.equal(await load(BUNDLE.replace('answer', 'answers')), 'answers 42');
  assert.equal((await readdir(cache)).length, 2);
});

test('a place where nothing can be written costs time and nothing else', async (t) => {
  const { cache, load } = await bundle(t);
  await mkdir(join(cache, '..'), { recursive: true });
  await writeFile(cache, 'a file in the way');
  assert.equal(await load(), 'answer 42');
  assert.equal(await load(), 'answer 42');
});
