import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createMessage, readKey, readPrivateKey, readSignature, sign } from 'openpgp';
import { AciSigner } from '../../../src/serve/aci/signer.ts';
import { loadSecrets } from '../../../src/serve/tokens/secret-file.ts';
import { TestLayout } from '../../helpers/images.ts';
import { mustRun, run } from '../../helpers/processes.ts';
import { skipWithout } from '../../helpers/programs.ts';
import { tempDirectory } from '../../helpers/temp.ts';
import { startService } from '../../helpers/torrent-service.ts';

test(
  'gpg verifies a signature with the key, which is RSA, and no other bytes',
  {
    skip: skipWithout('gpg'),
  },
  async (t) => {
    const directory = await tempDirectory(t);
    const signer = new AciSigner(join(directory, 'secret.json'));
    const content = Buffer.alloc(3_000_000, 'aci');
    const chunks = [content.subarray(0, 1_000_000), content.subarray(1_000_000)];
    const [key, file, signature] = ['key.asc', 'image.aci', 'image.aci.asc'].map((name) =>
      join(directory, name),
    ) as [string, string, string];
    await writeFile(key, await signer.publicKey());
    await writeFile(file, content);
    await writeFile(signature, await signer.sign(() => Readable.from(chunks)));
    const gpg = ['--homedir', directory, '--batch', '--no-autostart'];
    const shown = await mustRun('gpg', [...gpg, '--show-keys', '--with-colons', key]);
    assert.match(shown, /^pub:[^:]*:3072:1:/m);
    assert.match(shown, new RegExp(`^fpr:+${(await signer.fingerprint()).toUpperCase()}:`, 'm'));
    await mustRun('gpg', [...gpg, '--import', key]);
    await mustRun('gpg', [...gpg, '--verify', signature, file]);
    await writeFile(file, content.fill('x', 5, 6));
    assert.notEqual((await run('gpg', [...gpg, '--verify', signature, file])).code, 0);
  },
);

test('the key is made once, kept beside the other secrets, and the same for all who share the file', async (t) => {
  const path = join(await tempDirectory(t), 'secret.json');
  const { keys } = await loadSecrets(path);
  const fingerprints = await Promise.all(Array.from({ length: 3 }, () => new AciSigner(path).fingerprint()));
  assert.equal(new Set(fingerprints).size, 1);
  assert.match(fingerprints[0] ?? '', /^[0-9a-f]{40}$/);
  assert.deepEqual((await loadSecrets(path)).keys, keys);
  await writeFile(path, (await readFile(path, 'utf8')).replace(/BEGIN PGP PRIVATE/, 'BEGIN PGP s3cret'));
  await assert.rejects(new AciSigner(path).publicKey(), (error: Error) => !error.message.includes('s3cret'));
});

test(
  'no signature is shorter than the key, nor what the key says of itself',
  { timeout: 300_000 },
  async (t) => {
    const signer = new AciSigner(join(await tempDirectory(t), 'secret.json'));
    const lengthOf = async (armoredSignature: string): Promise<number> => {
      const { packets } = await readSignature({ armoredSignature });
      return (packets[0] as unknown as { params: { s: Uint8Array } }).params.s.length;
    };
    // A time at which the first try is too short is found by trying without the signer.
    const path = join(await tempDirectory(t), 'other.json');
    const other = new AciSigner(path);
    await other.fingerprint();
    const { openpgp: armoredKey } = JSON.parse(await readFile(path, 'utf8')) as { openpgp: string };
    const signingKeys = await readPrivateKey({ armoredKey });
    const config = { nonDeterministicSignaturesViaNotation: false };
    const content = Buffer.from('aci');
    let date = new Date();
    for (let length = 384; length === 384;) {
      date = new Date(date.getTime() - 1000);
      const message = await createMessage({ binary: content });
      const made: unknown = await sign({ message, signingKeys, detached: true, date, config });
      length = await lengthOf(String(made));
    }
    assert.equal(await lengthOf(await other.sign(() => Readable.from([content]), date)), 384);
    assert.equal(await lengthOf(await signer.sign(() => Readable.from([content]))), 384);
    const [user] = (await readKey({ armoredKey: await other.publicKey() })).users;
    const [own] = (user?.selfCertifications ?? []) as unknown as { params: { s: Uint8Array } }[];
    assert.equal(own?.params.s.length, 384);
  },
);

test('signing takes no memory for what is signed', async (t) => {
  const signer = new AciSigner(join(await tempDirectory(t), 'secret.json'));
  await signer.fingerprint();
  const [chunk, chunks] = [Buffer.alloc(1024 * 1024), 256];
  const before = process.memoryUsage().rss;
  await signer.sign(() =>
    Readable.from(
      (function* () {
        for (let left = chunks; left > 0; left--) yield Buffer.from(chunk);
      })(),
    ),
  );
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < (chunks * chunk.length) / 2, `${grown} bytes for ${chunks * chunk.length}`);
});

test('discovery is answered on every path, by every name of the upstream that appc can say', async (t) => {
  const { directory } = await TestLayout.create(await tempDirectory(t));
  const service = await startService(t, {
    upstream: `oci:${directory}`,
    aliases: ['quay.example', 'registry.example:5000', 'registry.example:443'],
    publicUrl: 'https://torrents.example',
  });
  for (const path of ['/', '/ns/app', '/v2/', '/c1/aci/x', '/metrics']) {
    const response = await fetch(`${service.url}${path}?ac-discovery=1`, {
      headers: { host: 'QUAY.example' },
    });
    assert.equal(response.status, 200, path);
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
    const tags = [...(await response.text()).matchAll(/<meta name="([\w-]+)" content="(\S+) (\S+)">/g)];
    const aci = 'https://torrents.example/c1/aci/{name}/{version}/{ext}/{os}/{arch}/';
    const wanted = ['quay.example', 'registry.example', 'torrents.example'].flatMap((host) => [
      `ac-discovery ${host} ${aci}`,
      `ac-discovery-pubkeys ${host} https://torrents.example/aci-signing-key`,
    ]);
    assert.deepEqual(
      tags.map((tag) => tag.slice(1).join(' ')),
      wanted,
    );
  }
  assert.equal((await fetch(`${service.url}/ns/app`)).status, 404);
  const key = await fetch(`${service.url}/aci-signing-key`);
  assert.equal(key.headers.get('content-type'), 'application/pgp-keys');
  assert.match(await key.text(), /^-----BEGIN PGP PUBLIC KEY BLOCK-----/);
});

test('a Host that is none does not come into the page', async (t) => {
  const { directory } = await TestLayout.create(await tempDirectory(t));
  const service = await startService(t, { upstream: `oci:${directory}`, aliases: ['quay.example'] });
  const headers = { host: 'x"><script>alert(1)</script>' };
  const page = await new Promise<string>((resolve, reject) => {
    get(`${service.url}/?ac-discovery=1`, { headers }, (answer) => resolve(text(answer))).on('error', reject);
  });
  assert.match(page, /quay\.example/);
  assert.doesNotMatch(page, /script/);
});
