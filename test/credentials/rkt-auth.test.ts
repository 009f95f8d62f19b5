import assert from 'node:assert/strict';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Credential } from '../../src/credentials/credential.ts';
import { RktAuth } from '../../src/credentials/rkt-auth.ts';
import { findCredential } from '../../src/credentials/sources.ts';
import { unauthorized } from '../../src/registry/failures.ts';
import type { Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { credentialStoreSuite, HELD } from './credential-store.suite.ts';
import { failsWith, signal, writeJson, writeText } from './places.ts';

const basic = (user: string, ...domains: string[]): object => ({
  rktKind: 'auth',
  rktVersion: 'v1',
  domains,
  type: 'basic',
  credentials: { user, password: 's3cret' },
});
const oauth = (...domains: string[]): object => ({
  rktKind: 'auth',
  rktVersion: 'v1',
  domains,
  type: 'oauth',
  credentials: { token: 'tok-s3cret' },
});
const dockerAuth = (user: string, ...registries: string[]): object => ({
  rktKind: 'dockerAuth',
  rktVersion: 'v1',
  registries,
  credentials: { user, password: 's3cret' },
});

credentialStoreSuite('rkt auth.d', async (scope) => {
  const directory = await tempDirectory(scope);
  await writeJson(join(directory, 'auth.d/quay.json'), basic(HELD.username, HELD.registry));
  return new RktAuth([directory], {});
});

credentialStoreSuite('rkt config', (scope) =>
  rktThatPrints(scope, printed([basic(HELD.username, HELD.registry)])),
);

test('rkt auth.d: basic, oauth and dockerAuth; the later directory wins', async (t) => {
  const [system, local] = [await tempDirectory(t), await tempDirectory(t)];
  await writeJson(join(system, 'auth.d/a.json'), basic('system', 'quay.io', 'host.example:5000'));
  await writeJson(join(system, 'auth.d/tok.json'), oauth('tok.example'));
  await writeJson(join(system, 'auth.d/hub.json'), dockerAuth('hub', 'index.docker.io'));
  await writeJson(join(local, 'auth.d/a.json'), basic('local', 'quay.io'));
  const store = new RktAuth([system, local, '/nowhere'], {});
  assert.deepEqual(await userOf(store, 'quay.io'), 'local');
  assert.deepEqual(await userOf(store, 'host.example:5000'), 'system');
  assert.deepEqual(await userOf(store, 'host.example'), undefined);
  assert.deepEqual(await userOf(store, 'docker.io'), 'hub');
  assert.deepEqual(await store.find('tok.example', undefined, signal), {
    kind: 'registry-token',
    token: 'tok-s3cret',
  });
});

test('rkt auth.d: other names, subdirectories and symbolic links do not count', async (t) => {
  const directory = await tempDirectory(t);
  const real = await writeJson(join(directory, 'real'), basic('link', 'quay.io'));
  await writeJson(join(directory, 'auth.d/a.conf'), basic('conf', 'quay.io'));
  await writeText(join(directory, 'auth.d/README'), 'not JSON');
  await mkdir(join(directory, 'auth.d/sub.json'));
  await writeJson(join(directory, 'auth.d/sub/a.json'), basic('sub', 'quay.io'));
  await symlink(real, join(directory, 'auth.d/link.json'));
  assert.equal(await userOf(new RktAuth([directory], {}), 'quay.io'), undefined);
});

test('rkt config: what a real rkt prints is read, other kinds and aws passed over', async (t) => {
  const store = await rktThatPrints(
    t,
    String.raw`{"stage0":[{"rktVersion":"v1","rktKind":"auth","domains":["quay.io"],"type":"basic","credentials":{"user":"user\u003c\u0026\u003eé","password":"p\"w\\x"}},{"rktVersion":"v1","rktKind":"auth","domains":["tok.example"],"type":"oauth","credentials":{"token":"tok123"}},{"rktVersion":"v1","rktKind":"auth","domains":["s3.example"],"type":"aws","credentials":{"accessKeyID":"a","secretAccessKey":"b","awsRegion":"c"}},{"rktVersion":"v1","rktKind":"dockerAuth","registries":["index.docker.io"],"credentials":{"user":"du","password":"dp"}},{"rktVersion":"v1","rktKind":"paths","data":"","stage1-images":""},{"rktVersion":"v1","rktKind":"stage1","name":"","version":"","location":""}]}`,
  );
  const expected: Credential = { kind: 'basic', username: 'user<&>é', password: 'p"w\\x' };
  assert.deepEqual(await store.find('quay.io', undefined, signal), expected);
  assert.deepEqual(await store.find('tok.example', undefined, signal), {
    kind: 'registry-token',
    token: 'tok123',
  });
  assert.equal(await store.find('s3.example', undefined, signal), undefined);
  assert.equal(await userOf(store, 'docker.io'), 'du');
});

test('rkt auth.d for ACIs: the kind auth alone, by the exact host of the URL; aws is a clear error', async (t) => {
  const directory = await tempDirectory(t);
  await writeJson(join(directory, 'auth.d/a.json'), basic('me', 'quay.io', 'quay.io:443'));
  await writeJson(join(directory, 'auth.d/b.json'), oauth('tok.example'));
  await writeJson(join(directory, 'auth.d/c.json'), dockerAuth('docker', 'hub.example'));
  const keys = { accessKeyID: 'a', secretAccessKey: 's3cret', awsRegion: 'r' };
  const aws = { ...basic('x', 's3.example'), type: 'aws', credentials: keys };
  await writeJson(join(directory, 'auth.d/d.json'), aws);
  const store = new RktAuth([directory], {});
  const kindFor = async (host: string): Promise<string | undefined> =>
    (await store.findForAci(host, signal))?.kind;
  assert.equal(await kindFor('quay.io'), 'basic');
  assert.equal(await kindFor('quay.io:443'), 'basic');
  assert.equal(await kindFor('tok.example'), 'registry-token');
  for (const other of ['quay.io:8443', 'QUAY.io', 'sub.quay.io', 'hub.example', 'docker.io']) {
    assert.equal(await kindFor(other), undefined, other);
  }
  await assert.rejects(store.findForAci('s3.example', signal), failsWith('credentials', /of the type aws$/));
});

test('a refused credential is told with its place, and what replaces it', async (t) => {
  const directory = await tempDirectory(t);
  await writeJson(join(directory, 'auth.d/a.json'), basic('s3cret', 'quay.io'));
  const rkt = new RktAuth([directory], {});
  const hint = (credential: Credential | undefined): string =>
    unauthorized('quay.io', 'team/app', credential).hint ?? '';
  assert.match(
    hint(await rkt.findForAci('quay.io', signal)),
    /from the rkt configuration \(auth\.d\) is wrong, .*; change it there, which comes before `quayctl login`$/,
  );
  const forImages = await findCredential('quay.io', undefined, [rkt], assert.fail, signal);
  assert.match(hint(forImages), /from the rkt .* is wrong, .*; `quayctl login quay\.io` replaces it$/);
  assert.match(hint(undefined), /^log in with/);
});

test('rkt auth.d: a domain that one directory names twice is an error, as with rkt', async (t) => {
  const directory = await tempDirectory(t);
  await writeJson(join(directory, 'auth.d/a.json'), basic('one', 'quay.io'));
  await writeJson(join(directory, 'auth.d/b.json'), oauth('quay.io'));
  const search = new RktAuth([directory], {}).findForAci('other.example', signal);
  await assert.rejects(search, failsWith('credentials', /names quay\.io twice$/));
});

const BROKEN: readonly (readonly [name: string, text: string, pattern: RegExp])[] = [
  ['no JSON', '{"s3cret"', /bad.json is not valid JSON$/],
  ['another kind', '{"rktKind":"paths","rktVersion":"v1"}', /bad.json is not an rkt auth configuration/],
  ['another version', '{"rktKind":"auth","rktVersion":"v2"}', /bad.json is not an rkt auth configuration/],
  [
    'an unknown type',
    '{"rktKind":"auth","rktVersion":"v1","domains":["quay.io"],"type":"digest","credentials":{"password":"s3cret"}}',
    /an entry without usable credentials$/,
  ],
  ['no domains', JSON.stringify({ ...basic('s3cret'), domains: [] }), /bad.json names no domains$/],
  ['a domain that is no text', JSON.stringify({ ...basic('s3cret'), domains: [7] }), /names no domains$/],
  [
    'an empty token',
    '{"rktKind":"auth","rktVersion":"v1","domains":["other.example"],"type":"oauth","credentials":{"token":""}}',
    /an entry without usable credentials$/,
  ],
  [
    'no password',
    '{"rktKind":"auth","rktVersion":"v1","domains":["quay.io"],"type":"basic","credentials":{"user":"s3cret"}}',
    /an entry without usable credentials$/,
  ],
];

for (const [name, text, pattern] of BROKEN) {
  test(`rkt auth.d: a file with ${name} is an error that tells no secret`, async (t) => {
    const directory = await tempDirectory(t);
    await writeText(join(directory, 'auth.d/bad.json'), text);
    const search = new RktAuth([directory], {}).find('quay.io', undefined, signal);
    await assert.rejects(search, failsWith('credentials', pattern));
  });
}

test('rkt config: a failing rkt, and one that prints something else, are errors', async (t) => {
  const failing = await rktThat(t, 'echo "config: unexpected end of s3cret" >&2; exit 254');
  await assert.rejects(
    failing.find('quay.io', undefined, signal),
    failsWith('credentials', /^rkt config fails$/),
  );
  for (const text of ['s3cret', '{"stage0":{"a":"s3cret"}}', '{"stage0":["s3cret"]}', '{}']) {
    const store = await rktThatPrints(t, text);
    await assert.rejects(
      store.find('quay.io', undefined, signal),
      failsWith('credentials', /^rkt config /),
      text,
    );
  }
});

async function userOf(store: RktAuth, registry: string): Promise<string | undefined> {
  const credential = await store.find(registry, undefined, signal);
  return credential?.kind === 'basic' ? credential.username : undefined;
}

function printed(entries: readonly object[]): string {
  return JSON.stringify({ stage0: [...entries, { rktKind: 'paths', rktVersion: 'v1', data: '' }] });
}

async function rktThatPrints(scope: Scope, text: string): Promise<RktAuth> {
  return rktThat(scope, `[ "$*" = "config --pretty-print=false" ] || exit 254\ncat <<'END'\n${text}\nEND`);
}

/** A stand-in for rkt, of which no package exists. */
async function rktThat(scope: Scope, script: string): Promise<RktAuth> {
  const folder = await tempDirectory(scope);
  await chmod(await writeText(join(folder, 'rkt'), `#!/bin/sh\n${script}\n`), 0o755);
  return new RktAuth(['/nowhere'], { PATH: `${folder}:/usr/bin:/bin` });
}
