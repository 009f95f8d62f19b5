import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { buildAci, labels } from '../helpers/aci.ts';
import { startAciHost, type AciHost, type SignedAci } from '../helpers/aci-host.ts';
import { makeSigner } from '../helpers/pgp.ts';
import type { Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { makeRkt, type TestRkt } from '../helpers/rkt.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

/** One host for each way through discovery; the image is HOST/ns/app:1.0. */
const NAMES = [
  'direct',
  'parent',
  'foreign',
  'braces',
  'first',
  'nothing',
  'clear',
  'elsewhere',
  'secret',
  'endless',
  'liar',
];
const PLAIN = 'plain.rkt.test';

const page = (...contents: readonly string[]): string =>
  `<html><body>${contents.map((content) => `<meta name="ac-discovery" content="${content}">`).join('')}`;
const place = (host: string): string => `https://${host}/images/{version}/{os}/{arch}.{ext}`;
const arch = process.arch === 'x64' ? 'amd64' : 'aarch64';

describe('discovery', { skip: skipWithout('root', 'unshare', 'gpg') }, () => {
  const scope = suiteScope();
  let host: AciHost;
  let rkt: TestRkt;

  before(async () => {
    const signer = await makeSigner(scope);
    const folder = await tempDirectory(scope);
    const site: Record<string, string | SignedAci> = {};
    for (const each of [...NAMES.map((name) => `${name}.rkt.test`), PLAIN]) {
      const name = `${each}/ns/app`;
      const manifest = { name, labels: labels({ version: '1.0', os: 'linux', arch }) };
      const aci = await buildAci(folder, { manifest });
      const signature = await signer.sign(aci.bytes);
      const lie = each.startsWith('liar') ? { torrentOf: Buffer.alloc(aci.bytes.length, 'x') } : {};
      site[`${each}/images/1.0/linux/${arch}.aci`] = { ...aci, signature, ...lie };
    }
    const at = (name: string): string => `${name}.rkt.test`;
    site[`${at('direct')}/ns/app`] = page(`${at('direct')} ${place(at('direct'))}`);
    site[`${at('parent')}/ns`] = page(`${at('parent')}/ns/a ${place(at('parent'))}`);
    site[`${at('foreign')}/ns/app`] = page(
      `other.test ${place(at('foreign'))}`,
      `${at('foreign')}/ns/b https://x/`,
    );
    site[at('foreign')] = page(`${at('foreign')} ${place(at('foreign'))}`);
    site[`${at('braces')}/ns/app`] = page(
      `${at('braces')} https://nowhere.rkt.test/{channel}.{ext}`,
      `${at('braces')} ${place(at('braces'))}`,
    );
    site[`${at('first')}/ns/app`] = page(
      `${at('first')} https://${at('first')}/gone.{ext}`,
      `${at('first')} ${place(at('first'))}`,
    );
    site[`${at('clear')}/ns/app`] = page(`${at('clear')} ${place(at('clear')).replace('https', 'http')}`);
    site[`${at('elsewhere')}/ns/app`] = page(`elsewhere ${place(at('secret'))}`);
    site[`${at('secret')}/ns/app`] = page(`secret ${place(at('secret'))}`);
    site[`${at('liar')}/ns/app`] = page(`liar ${place(at('liar'))}`);
    site[`${at('endless')}/ns/app`] =
      '<p>'.repeat(1_000_000) + page(`endless ${place(at('endless'))}`) + ' '.repeat(100_000_000);
    site[`${PLAIN}/ns/app`] = page(`${PLAIN} ${place(PLAIN).replace('https', 'http')}`);

    host = await startAciHost(scope, site, { names: NAMES.map(at), plain: [PLAIN] });
    const env = { SSL_CERT_FILE: host.authority.certificate };
    rkt = await makeRkt(scope, env, host.launcher);
    await rkt.trust(signer.keyFile);
    await mkdir(join(rkt.config, 'auth.d'));
    const auth = { rktKind: 'auth', rktVersion: 'v1', domains: [at('secret'), PLAIN] };
    const basic = { type: 'basic', credentials: { user: 'me', password: 's3cret' } };
    await writeFile(join(rkt.config, 'auth.d/a.json'), JSON.stringify({ ...auth, ...basic }));
  });

  const pull = async (
    t: Parameters<typeof quayctlNode>[0],
    image: string,
    ...flags: readonly string[]
  ): Promise<Output & { requests: readonly string[] }> => {
    const env = { ...rkt.env, NODE_EXTRA_CA_CERTS: host.authority.certificate };
    const node = await quayctlNode(t, { launcher: host.launcher, env });
    host.requests();
    const output = await node.run(['rkt', 'torrent', 'pull', image, ...flags]);
    return { ...output, requests: host.requests() };
  };
  const walkOf = (requests: readonly string[]): readonly string[] =>
    requests.map((url) => url.replace('!', '')).filter((url) => !/\.(?:aci|asc)$/.test(url));

  for (const name of ['direct', 'parent', 'foreign', 'braces', 'nothing', 'first']) {
    test(`quayctl walks as rkt does: ${name}`, async (t) => {
      const image = `${name}.rkt.test/ns/app:1.0`;
      host.requests();
      // With signatures it walks a second time, for keys.
      const fetched = await rkt.run('fetch', '--insecure-options=image', image);
      const walked = walkOf(host.requests());
      const { code, stderr, requests } = await pull(t, image);
      assert.deepEqual(walkOf(requests), walked);
      const isThere = name !== 'nothing' && name !== 'first';
      assert.equal(fetched.code === 0, isThere, fetched.stderr);
      assert.equal(code, isThere ? 0 : 4, stderr);
    });
  }

  test('the signature is checked by rkt, whose words are shown; the image is there', async (t) => {
    const { stdout, stderr } = await pull(t, 'direct.rkt.test/ns/app:1.0', '--insecure-options=image');
    assert.doesNotMatch(stderr, /signature verified/);
    assert.equal(stdout, 'direct.rkt.test/ns/app:1.0\n');
    assert.ok((await rkt.images()).has('direct.rkt.test/ns/app:1.0'));
  });

  test('a template that leads into the clear is refused; with --insecure it is taken', async (t) => {
    const refused = await pull(t, 'clear.rkt.test/ns/app:1.0');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /leads to plain HTTP at clear\.rkt\.test[\s\S]*hint: --insecure/);
    assert.equal((await pull(t, 'clear.rkt.test/ns/app:1.0', '--insecure')).code, 0);
  });

  test('a host without HTTPS: asked over HTTP with --insecure alone, and without credentials', async (t) => {
    const image = `${PLAIN}/ns/app:1.0`;
    const refused = await pull(t, image);
    assert.equal(refused.code, 1);
    assert.deepEqual(refused.requests, []);
    const { code, stderr, requests } = await pull(t, image, '--insecure');
    assert.equal(code, 0, stderr);
    assert.ok(
      requests.length > 2 && requests.every((url) => url.startsWith(`http://${PLAIN}/`)),
      requests.join(),
    );
    // A real rkt shows them to discovery.
    host.requests();
    await rkt.run('fetch', '--insecure-options=http', image);
    assert.ok(host.requests().includes(`!http://${PLAIN}/ns/app`));
  });

  test('credentials go to the host that they are for, over HTTPS, and to no other', async (t) => {
    const own = await pull(t, 'secret.rkt.test/ns/app:1.0');
    assert.equal(own.code, 0, own.stderr);
    assert.ok(
      own.requests.every((url) => url.startsWith('!https://secret.rkt.test/')),
      own.requests.join(),
    );
    const { requests } = await pull(t, 'elsewhere.rkt.test/ns/app:1.0');
    assert.ok(requests.includes('https://elsewhere.rkt.test/ns/app'), requests.join());
    assert.doesNotMatch(own.stderr + own.stdout, /s3cret/);
  });

  test('a page that does not end is not read to its end, and a torrent that lies is found out', async (t) => {
    const endless = await pull(t, 'endless.rkt.test/ns/app:1.0');
    assert.equal(endless.code, 4, endless.stderr);
    const lied = await pull(t, 'liar.rkt.test/ns/app:1.0');
    assert.equal(lied.code, 6, lied.stderr);
    assert.equal((await rkt.images()).has('liar.rkt.test/ns/app:1.0'), false);
  });

  test('credentials of the kind aws are a clear error', async (t) => {
    const mine = await makeRkt(t, {}, host.launcher);
    await mkdir(join(mine.config, 'auth.d'));
    const aws = { accessKeyID: 'a', secretAccessKey: 's3cret', awsRegion: 'r' };
    const entry = {
      rktKind: 'auth',
      rktVersion: 'v1',
      domains: ['direct.rkt.test'],
      type: 'aws',
      credentials: aws,
    };
    await writeFile(join(mine.config, 'auth.d/a.json'), JSON.stringify(entry));
    const env = { PATH: mine.env['PATH'] ?? '', NODE_EXTRA_CA_CERTS: host.authority.certificate };
    const node = await quayctlNode(t, { launcher: host.launcher, env });
    const { code, stderr } = await node.run(['rkt', 'torrent', 'pull', 'direct.rkt.test/ns/app:1.0']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /rkt's credentials for direct\.rkt\.test are of the type aws/);
  });
});
