import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildAci, labels, type AciSpec } from '../helpers/aci.ts';
import { makeSigner, type TestSigner } from '../helpers/pgp.ts';
import { mustRun, type Output, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { makeRkt, type TestRkt } from '../helpers/rkt.ts';
import { tempDirectory } from '../helpers/temp.ts';

// What a real rkt 1.30 was seen to say. Our own tests are worth what their stand-in is worth.
const skip = skipWithout('gpg', 'xz');
const SHORT = join(import.meta.dirname, '../fixtures/short-signature');
const ends: (() => void | Promise<void>)[] = [];
const scope: Scope = { after: (end) => void ends.push(end) };
let rkt: TestRkt;
let signer: TestSigner;
let folder: string;
before(async () => {
  if (skip !== false) return;
  [rkt, signer, folder] = await Promise.all([makeRkt(scope), makeSigner(scope), tempDirectory(scope, 'aci')]);
  await rkt.trust(signer.keyFile);
});
after(async () => {
  for (const end of ends.reverse()) await end();
});

/** An image in a file of the name, with a signature beside it. */
async function placed(name: string, spec: AciSpec = {}, signature?: Uint8Array): Promise<string> {
  const { bytes } = await buildAci(folder, spec);
  return written(name, bytes, signature ?? (await signer.sign(bytes)));
}

async function written(name: string, bytes: Uint8Array, signature: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  await writeFile(`${path.replace(/\.aci$/, '')}.aci.asc`, signature);
  return path;
}

function refused({ code, stdout, stderr }: Output, text: string): void {
  assert.equal(code, 254, stderr);
  assert.equal(stdout, '');
  assert.ok(stderr.includes(text), `${text}\n${stderr}`);
}

test('stand-in: a good image gets its ID, short and full, whatever its compression', { skip }, async () => {
  const { imageId } = await buildAci(folder, {});
  for (const compression of ['gzip', 'none'] as const) {
    const path = await placed('good.aci', { compression });
    const short = await rkt.run('fetch', path);
    assert.equal(short.stdout, `${imageId.slice(0, 'sha512-'.length + 32)}\n`, short.stderr);
    assert.match(short.stderr, /^image: signature verified:\n {2}Test Signer <signer@example\.test>$/m);
    assert.equal((await rkt.run('fetch', '--full', path)).stdout, `${imageId}\n`);
  }
  const plain = await placed('plain.aci', { compression: 'none' });
  await mustRun('xz', ['-kf', plain]);
  await rename(`${plain}.xz`, plain);
  const unchecked = await rkt.run('fetch', '--full', '--insecure-options=image', plain);
  assert.equal(unchecked.stdout, `${imageId}\n`, unchecked.stderr);
  assert.equal(unchecked.stderr, '');
});

test('stand-in: the rule for file names', { skip }, async () => {
  const path = await placed('rule.aci');
  refused(await rkt.run('fetch', path.replace('.aci', '.ACI')), 'invalid image string');
  assert.equal((await rkt.run('fetch', `${path}#x`)).code, 0);
  assert.equal((await rkt.run('fetch', `${path}?x`)).code, 0);
  refused(await rkt.run('fetch', '/nowhere/x.aci'), 'open /nowhere/x.aci.asc: no such file or directory');
  const odd = await placed('a b~@+é.aci');
  assert.equal((await rkt.run('fetch', odd)).code, 0);
  // %41 is A.
  await placed('A.aci');
  assert.equal((await rkt.run('fetch', join(folder, '%41.aci'))).code, 0);
  refused(await rkt.run('fetch', 'tiny:v1.aci'), 'discovery failed');
  refused(await rkt.run('fetch', 'tiny:'), 'discovery failed');
  refused(await rkt.run('fetch', 'tiny,arch=s390x'), 'bad arch "s390x" for linux');
  refused(await rkt.run('fetch', 'tiny,os=windows'), 'bad os "windows"');
  refused(await rkt.run('fetch'), 'must provide at least one image');
  refused(await rkt.run('fetch', path, '--'), 'app arguments unsupported');
  const { code, stderr } = await rkt.run('fetch', '--signature=/x.asc', path);
  assert.equal(code, 254);
  assert.match(stderr, /--signature must follow an image/);
  const other = await placed('other.aci', {}, Buffer.from(''));
  const elsewhere = `--signature=${path}.asc`;
  assert.equal((await rkt.run('fetch', other, elsewhere)).code, 0);
});

const MANIFESTS: readonly (readonly [what: string, spec: AciSpec, text: string])[] = [
  ['upper case', { manifest: { name: 'Quay.example/NS' } }, 'ACIdentifier must contain only lower case'],
  ['a label name', { manifest: { labels: labels({ Version: '1' }) } }, 'ACIdentifier must contain only'],
  ['no acVersion', { manifest: { acVersion: undefined } }, 'acVersion must be set'],
  ['an arch of Go', { manifest: { labels: labels({ os: 'linux', arch: 'x86_64' }) } }, 'bad arch "x86_64"'],
  ['windows', { manifest: { labels: labels({ os: 'windows' }) } }, 'bad os "windows"'],
  ['no user', { manifest: { app: { exec: null, group: '0' } } }, 'user is required'],
  ['no group', { manifest: { app: { exec: null, user: '0' } } }, 'group is required'],
  [
    'a variable',
    { manifest: { app: { exec: null, user: '0', group: '0', environment: labels({ '1A': 'x' }) } } },
    'does not have valid identifier "1A"',
  ],
  ['a label called name', { manifest: { labels: labels({ name: 'x' }) } }, 'invalid label name'],
  ['an acVersion', { manifest: { acVersion: 'x' } }, 'SemVer is bad'],
  [
    'a date without a time',
    { manifest: { annotations: [{ name: 'created', value: '2024-01-01' }] } },
    'parsing time',
  ],
  ['a date', { manifest: { annotations: [{ name: 'created', value: 'yesterday' }] } }, 'parsing time'],
  ['no manifest', { entries: [{ name: 'rootfs', type: 'directory' }] }, 'missing manifest'],
  ['zstd', { compression: 'zstd' }, 'error: unknown image filetype'],
];

for (const [what, spec, text] of MANIFESTS) {
  test(`stand-in: refuses ${what}, however well it is signed`, { skip }, async () => {
    refused(await rkt.run('fetch', await placed('bad.aci', spec)), text);
  });
}

test('stand-in: takes what the specification would not', { skip }, async () => {
  const manifests = [
    { acVersion: '1.0.0' },
    { name: 'quay.example/a--b/c__d' },
    { app: { exec: null, user: '0', group: '0', ports: [{ name: 'a', protocol: 'sctp', port: 1 }] } },
    { app: { exec: null, user: '0', group: '0' } },
    { labels: labels({ os: 'linux', arch: 's390x' }), annotations: [{ name: 'x', value: 'y' }] },
  ];
  for (const manifest of manifests) {
    assert.equal((await rkt.run('fetch', await placed('odd.aci', { manifest }))).code, 0);
  }
});

test('stand-in: signatures', { skip }, async (t) => {
  const { bytes } = await buildAci(folder, {});
  const good = await signer.sign(bytes);
  const take = async (signature: Uint8Array): Promise<Output> =>
    rkt.run('fetch', await written('signed.aci', bytes, signature));
  assert.equal((await take(await signer.sign(bytes, '--detach-sign'))).code, 0, 'binary');
  assert.equal((await take(Buffer.concat([Buffer.from('text\n'), good]))).code, 0, 'text in front');
  refused(await take(await signer.sign(Buffer.from('other'))), "invalid signature: hash tag doesn't match");
  refused(await take(Buffer.from('')), 'no valid signatures found in signature file');
  refused(await take(Buffer.from('garbage')), 'tag byte does not have MSB set');
  refused(
    await take(await signer.sign(bytes, '--armor', '--sign')),
    "expected 'PGP SIGNATURE', got: PGP MESSAGE",
  );
  // As gpg makes one in 256: it begins with a zero byte, which is not written.
  const mine = await makeRkt(t);
  await mine.trust(join(SHORT, 'key.asc'));
  refused(
    await mine.run('fetch', join(SHORT, 'image.aci')),
    'openpgp: invalid signature: RSA verification failure',
  );
  const stranger = await makeSigner(t);
  refused(await take(await stranger.sign(bytes)), 'signature made by unknown entity');
  for (const [algorithm, text] of [
    ['ed25519', 'unsupported feature: public key algorithm 22'],
    ['nistp256', 'signature made by unknown entity'],
  ] as const) {
    const curve = await makeSigner(t, algorithm);
    refused(await take(await curve.sign(bytes)), text);
    const trust = await rkt.run('trust', '--root', '--skip-fingerprint-review', curve.keyFile);
    assert.equal(trust.code, 254, trust.stderr);
  }
});

test('stand-in: keys of a prefix count by path component, root keys for all', { skip }, async (t) => {
  const mine = await makeRkt(t);
  const path = await placed('prefix.aci');
  refused(await mine.run('fetch', path), 'signature made by unknown entity');
  await mine.trust(signer.keyFile, 'quay.ex');
  refused(await mine.run('fetch', path), 'signature made by unknown entity');
  await mine.trust(signer.keyFile, 'quay.example');
  assert.equal((await mine.run('fetch', path)).code, 0);
  const stray = join(mine.config, 'trustedkeys/root.d');
  await mkdir(stray, { recursive: true });
  await writeFile(join(stray, 'not-its-fingerprint'), signer.key);
  refused(await mine.run('fetch', path), 'fingerprint mismatch');
});

test('stand-in: the image store', { skip }, async (t) => {
  const mine = await makeRkt(t);
  assert.equal((await mine.run('image', 'list', '--format=json')).stdout, 'null\n');
  const { imageId } = await buildAci(folder, {});
  const path = await placed('stored.aci');
  await mine.run('fetch', '--insecure-options=image', path);
  assert.deepEqual(await mine.images(), new Map([['quay.example/ns/tiny:v1.0', imageId]]));
  const list = await mine.run('image', 'list', '--full', '--no-legend', '--fields=id');
  assert.equal(list.stdout, `${imageId}\n`);
  const exported = join(folder, 'exported.aci');
  assert.equal((await mine.run('image', 'export', 'quay.example/ns/tiny:v1.0', exported)).code, 0);
  const again = await mine.run('image', 'export', 'quay.example/ns/tiny', exported);
  refused(again, 'output ACI file exists (try --overwrite)');
  assert.match((await mine.run('image', 'cat-manifest', imageId)).stdout, /"acKind": "ImageManifest"/);
  refused(await mine.run('image', 'cat-manifest', 'nope'), 'cannot find aci satisfying name: "nope"');
  refused(await mine.run('image', 'cat-manifest', 'sha512-0'), 'cat-manifest: image ID too short');
  assert.equal((await mine.run('image', 'rm', 'nope')).code, 0);
  refused(await mine.run('image', 'rm'), 'rm: must provide at least one image ID');
  const none = await mine.run('image', 'rm', 'sha512-00');
  assert.deepEqual([none.code, none.stderr], [0, 'rm: no image IDs found\n']);
  const removed = await mine.run('image', 'rm', imageId);
  assert.equal(removed.stdout, `successfully removed aci for image: "${imageId}"\n`);
});

test('stand-in: configuration', { skip }, async (t) => {
  const mine = await makeRkt(t);
  const folderOf = join(mine.config, 'auth.d');
  await mkdir(folderOf);
  const auth = (fields: object): string =>
    JSON.stringify({ rktKind: 'auth', rktVersion: 'v1', domains: ['quay.io', 'h:5000'], ...fields });
  const basic = { type: 'basic', credentials: { user: 'u<&>', password: 'p' } };
  await writeFile(join(folderOf, 'a.json'), auth(basic));
  await symlink(join(folderOf, 'a.json'), join(folderOf, 'link.json'));
  const { stdout } = await mine.run('config', '--pretty-print=false');
  const one = (domain: string): string =>
    String.raw`{"rktVersion":"v1","rktKind":"auth","domains":["${domain}"],"type":"basic","credentials":{"user":"u\u003c\u0026\u003e","password":"p"}}`;
  // In any order.
  const [two, other] = [one('quay.io'), one('h:5000')];
  const begins = [`${two},${other}`, `${other},${two}`].map(
    (pair) => `{"stage0":[${pair},{"rktVersion":"v1","rktKind":"paths"`,
  );
  assert.ok(
    begins.some((begin) => stdout.startsWith(begin)),
    stdout,
  );
  const bad: readonly (readonly [string, string])[] = [
    ['', 'unexpected end of JSON input'],
    [auth({ type: 'digest' }), 'unknown auth type: "digest"'],
    [auth({ type: 'basic', credentials: { user: 'u' } }), 'password not specified'],
    [auth({ type: 'oauth', credentials: {} }), 'no oauth bearer token specified'],
    [auth({ ...basic, domains: [] }), 'no domains specified'],
    [
      auth({ ...basic, rktVersion: 'v2' }),
      'no parser available for configuration of kind "auth" and version "v2"',
    ],
    [auth(basic), 'auth for domain "quay.io" is already specified'],
  ];
  for (const [content, text] of bad) {
    await writeFile(join(folderOf, 'b.json'), content);
    refused(await mine.run('config'), `config: cannot get configuration: ${text}`);
  }
});
