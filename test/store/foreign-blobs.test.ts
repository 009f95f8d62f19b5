import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chown, writeFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { openStore } from '../../src/store/open-store.ts';
import { tempDirectory } from '../helpers/temp.ts';

const OTHER_UID = 65534;
const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : 'needs root, to give files to another user';

test(
  'what another user put into the store is hashed before its first use, and again after a change',
  { skip },
  async (t) => {
    await using store = await openStore(await tempDirectory(t, 'store'));
    const content = Buffer.from('a layer of somebody else');
    const digest = digestOf(content);
    const path = store.blobFile(digest);
    await writeFile(path, content);
    await chown(path, OTHER_UID, OTHER_UID);
    assert.equal(await store.stat(digest), content.length);
    assert.deepEqual(await buffer(await store.stream(digest)), content);

    // Of the same length and with the times set back, as somebody would who wants it not to be seen.
    await writeFile(path, Buffer.from('A layer of somebody else'));
    assert.equal(await store.stat(digest), undefined);
    await assert.rejects(store.open(digest), { code: 'not-found' });
  },
);

test('what this user or root put into the store is believed as it is', { skip }, async (t) => {
  await using store = await openStore(await tempDirectory(t, 'store'));
  const digest = digestOf(createHash('sha256').update('any').digest());
  await writeFile(store.blobFile(digest), 'not its content');
  assert.equal(await store.stat(digest), 'not its content'.length);
});
