import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parseDigest } from '../../src/image/digest.ts';
import { loadSecrets } from '../../src/serve/tokens/secret-file.ts';
import type { Secret } from '../../src/serve/torrents/secret.ts';
import { tempDirectory } from '../helpers/temp.ts';

const loadSecret = async (path: string): Promise<Secret> => (await loadSecrets(path)).secret;
const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`);

test('a secret is made once, for its owner only, whoever asks first', async (t) => {
  const path = join(await tempDirectory(t, 'secret'), 'new/secret.json');
  const secrets = await Promise.all(Array.from({ length: 10 }, () => loadSecret(path)));
  assert.equal(new Set(secrets.map((secret) => secret.torrentName(DIGEST))).size, 1);
  assert.deepEqual(await readdir(dirname(path)), ['secret.json']);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
});

test('a secret of a known file gives the names of the protocol', async (t) => {
  const path = join(await tempDirectory(t, 'secret'), 'secret.json');
  await writeFile(
    path,
    JSON.stringify({ version: 1, hmac: Buffer.alloc(32, 1).toString('base64url'), later: {} }),
  );
  const secret = await loadSecret(path);
  // printf 'quayctl-1\n%s' DIGEST | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101...
  assert.equal(
    secret.torrentName(DIGEST),
    'e4eb312647fc3745d1c34cec5bc601d6ca2b0ec5141d4e101e799a12ad98a336',
  );
});

test('a secret file that is not understood is an error and stays as it is', async (t) => {
  const path = join(await tempDirectory(t, 'secret'), 'secret.json');
  for (const content of [
    '',
    '{}',
    '{"version":2}',
    '{"version":1,"hmac":"c2hvcnQ"}',
    '{"version":1,"hmac":7}',
    '[]',
    `{"version":1,"hmac":"${'a'.repeat(43)}","keys":[{"kid":"x"}]}`,
  ]) {
    await writeFile(path, content);
    await assert.rejects(loadSecret(path), { code: 'store' }, content);
    assert.equal(await readFile(path, 'utf8'), content);
  }
  await assert.rejects(loadSecret(dirname(path)), { code: 'store' });
});

test('a signature is for its fields, in their order', async (t) => {
  const secret = await loadSecret(join(await tempDirectory(t, 'secret'), 'secret.json'));
  const signature = secret.sign('a', 'b');
  assert.ok(secret.verify(signature, 'a', 'b'));
  for (const [presented, ...fields] of [
    [signature, 'b', 'a'],
    [signature, 'a'],
    [signature.slice(1), 'a', 'b'],
    ['', 'a', 'b'],
    ['\u0000'.repeat(43), 'a', 'b'],
  ] as const) {
    assert.ok(!secret.verify(presented, ...fields));
  }
});
