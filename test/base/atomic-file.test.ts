import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeAtomically } from '../../src/base/atomic-file.ts';
import { tempDirectory } from '../helpers/temp.ts';

test('a file is replaced at once, with the mode that is asked for, and without a draft left over', async (t) => {
  const directory = await tempDirectory(t);
  const path = join(directory, 'file');
  await writeFile(path, 'old', { mode: 0o644 });
  await writeAtomically(path, Buffer.from('new'), { mode: 0o600, durable: true });
  assert.equal(await readFile(path, 'utf8'), 'new');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ['file']);
});

test('bytes that come in parts are whole in the file', async (t) => {
  const path = join(await tempDirectory(t), 'file');
  await writeAtomically(path, [Buffer.from('one, '), Buffer.from('two')], { durable: true });
  assert.equal(await readFile(path, 'utf8'), 'one, two');
});

test('where the bytes break off, the old file stays, and no draft', async (t) => {
  const directory = await tempDirectory(t);
  const path = join(directory, 'file');
  await writeFile(path, 'old');
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from('half'));
    throw new Error('broken off');
  };
  await assert.rejects(writeAtomically(path, broken()), /broken off/);
  assert.equal(await readFile(path, 'utf8'), 'old');
  assert.deepEqual(await readdir(directory), ['file']);
});

test('a signal ends the writing with its own reason: the old file stays, and no draft', async (t) => {
  const directory = await tempDirectory(t);
  const path = join(directory, 'file');
  await writeFile(path, 'old');
  const stop = new AbortController();
  const reason = new Error('Ctrl-C');
  const endless = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    stop.abort(reason);
    await new Promise(() => undefined);
  };
  await assert.rejects(
    writeAtomically(path, endless(), { signal: stop.signal }),
    (error) => error === reason,
  );
  await assert.rejects(
    writeAtomically(path, Buffer.from('late'), { signal: stop.signal }),
    (error) => error === reason,
  );
  assert.equal(await readFile(path, 'utf8'), 'old');
  assert.deepEqual(await readdir(directory), ['file']);
});

test('of several exclusive writers one wins, the others are told', async (t) => {
  const directory = await tempDirectory(t);
  const path = join(directory, 'file');
  const write = (text: string): Promise<void> =>
    writeAtomically(path, Buffer.from(text), { exclusive: true });
  const ends = await Promise.allSettled(['a', 'b', 'c'].map(write));
  assert.equal(ends.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const end of ends) if (end.status === 'rejected') assert.match(String(end.reason), /EEXIST/);
  assert.deepEqual(await readdir(directory), ['file']);
});
