import assert from 'node:assert/strict';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { openStore } from '../../src/store/open-store.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { patience, randomBlob } from './blobs.ts';
import { commit, failsWith } from './blob-store.suite.ts';
import { storeIn } from './open.ts';

const MIB = 1024 * 1024;
const skip = skipWithout('root');

async function smallDisk(t: Scope, size: string): Promise<string> {
  const directory = join(await tempDirectory(t, 'disk'), 'small');
  await mkdir(directory);
  await mustRun('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'quayctl-test', directory]);
  return directory;
}

test('a full disk is told, and the download goes on when there is space', { skip }, async (t) => {
  const directory = await smallDisk(t, '6m');
  const ballast = join(directory, 'ballast');
  await writeFile(ballast, Buffer.alloc(4 * MIB));
  const store = await storeIn(t, join(directory, 'store'));
  const blob = randomBlob(4 * MIB);
  const partial = await store.begin(blob.descriptor, patience());
  assert.ok(partial !== 'present');
  const writing = (async () => {
    for (let at = 0; at < 4 * MIB; at += 65536) await partial.write(at, blob.bytes.subarray(at, at + 65536));
  })();
  await assert.rejects(writing, (error) => {
    assert.ok(error instanceof QuayctlError);
    assert.equal(error.code, 'disk-full');
    assert.ok(error.hint !== undefined);
    return true;
  });
  await partial.close();

  await rm(ballast);
  const again = await store.begin(blob.descriptor, patience());
  assert.ok(again !== 'present');
  assert.ok(again.written >= MIB, `${again.written} bytes were kept`);
  for (const { start, end } of again.spans) {
    assert.ok(Buffer.from(await again.read(start, end - start)).equals(blob.bytes.subarray(start, end)));
  }
  await again.write(0, blob.bytes);
  await again.commit();
  await again.close();
  assert.equal(await store.stat(blob.descriptor.digest), 4 * MIB);
});

test('on a full disk, gc still makes room', { skip }, async (t) => {
  const directory = await smallDisk(t, '6m');
  const first = await storeIn(t, join(directory, 'store'));
  for (let at = 0; at < 4; at++) await commit(first, randomBlob(MIB));
  await first.close();
  await assert.rejects(writeFile(join(directory, 'ballast'), Buffer.alloc(3 * MIB)), { code: 'ENOSPC' });
  const store = await storeIn(t, join(directory, 'store'));
  const { left } = await store.gc(MIB).catch(async (error: unknown) => {
    await rm(join(directory, 'ballast'));
    throw error;
  });
  assert.ok(left <= MIB);
});

test('a disk that is full when the store is made is told', { skip }, async (t) => {
  const directory = await smallDisk(t, '1m');
  await assert.rejects(writeFile(join(directory, 'ballast'), Buffer.alloc(2 * MIB)), { code: 'ENOSPC' });
  await failsWith('disk-full', openStore(join(directory, 'store')));
});

test('a read-only disk is told, and nothing is written', { skip }, async (t) => {
  const directory = await smallDisk(t, '1m');
  await mustRun('mount', ['-o', 'remount,ro', directory]);
  await assert.rejects(openStore(join(directory, 'store')), (error) => {
    assert.ok(error instanceof QuayctlError);
    assert.equal(error.code, 'store');
    assert.match(error.message, /read-only/);
    assert.match(error.hint ?? '', /--store/);
    return true;
  });
  assert.deepEqual(await readdir(directory), []);
});
