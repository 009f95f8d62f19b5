import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import type { CredentialStore } from '../../src/credentials/credential.ts';
import { credentialStores, findCredential } from '../../src/credentials/sources.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { credentialStoreSuite, HELD } from './credential-store.suite.ts';
import { memoryStore } from './memory-store.ts';
import { base64, signal, writeJson, writeText } from './places.ts';

credentialStoreSuite('memory', async () =>
  memoryStore({ [HELD.registry]: { kind: 'basic', username: HELD.username, password: HELD.password } }),
);

test('the first store that has one wins; hosts are compared without regard to case', async () => {
  const stores = [
    memoryStore({}),
    memoryStore({ 'quay.io': { kind: 'registry-token', token: 'first' } }),
    memoryStore({ 'quay.io': { kind: 'registry-token', token: 'second' } }),
  ];
  const find = (registry: string): ReturnType<typeof findCredential> =>
    findCredential(registry, 'team/app', stores, assert.fail, signal);
  const source = { name: 'the memory' };
  assert.deepEqual(await find('quay.io'), { kind: 'registry-token', token: 'first', source });
  assert.deepEqual(await find('QUAY.io'), { kind: 'registry-token', token: 'first', source });
  assert.equal(await find('docker.io'), undefined);
});

test('a store that fails is warned about, without secrets, and passed over', async () => {
  const failing = (error: Error): CredentialStore => ({
    name: 'the broken one',
    find: async () => {
      throw error;
    },
  });
  const warnings: string[] = [];
  const stores = [
    failing(new QuayctlError('credentials', 'helper fails: https://me:s3cret@vault.example/?token=s3cret')),
    failing(new Error('unforeseen s3cret')),
    memoryStore({ 'quay.io': { kind: 'registry-token', token: 'last' } }),
  ];
  const found = await findCredential(
    'quay.io',
    undefined,
    stores,
    (warning) => warnings.push(warning),
    signal,
  );
  assert.deepEqual(found, { kind: 'registry-token', token: 'last', source: { name: 'the memory' } });
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? '', /^helper fails: .*looking for credentials for quay.io elsewhere$/);
  assert.match(warnings[1] ?? '', /^the broken one cannot be used/);
  assert.doesNotMatch(warnings.join(), /s3cret/);
});

test('an aborted search ends with the reason, and is no warning', async () => {
  const reason = new Error('Ctrl-C');
  const search = findCredential(
    'quay.io',
    undefined,
    [memoryStore({})],
    assert.fail,
    AbortSignal.abort(reason),
  );
  await assert.rejects(search, reason);
});

test('the order of the contract: docker, podman, rkt; a broken one does not end the search', async (t) => {
  const home = await tempDirectory(t);
  const env = { XDG_CONFIG_HOME: join(home, 'config'), XDG_RUNTIME_DIR: join(home, 'run') };
  const stores = credentialStores({
    env,
    home,
    uid: 1,
    nodePath: process.execPath,
    rktDirectories: [join(home, 'rkt')],
  });
  const warnings: string[] = [];
  const user = async (): Promise<string | undefined> => {
    const found = await findCredential('quay.io', 'team/app', stores, (text) => warnings.push(text), signal);
    return found?.kind === 'basic' ? found.username : undefined;
  };
  const auths = (name: string): object => ({ auths: { 'quay.io': { auth: base64(`${name}:s3cret`) } } });

  assert.equal(await user(), undefined);
  await writeJson(join(home, 'rkt/auth.d/quay.json'), {
    rktKind: 'auth',
    rktVersion: 'v1',
    domains: ['quay.io'],
    type: 'basic',
    credentials: { user: 'rkt', password: 's3cret' },
  });
  assert.equal(await user(), 'rkt');
  await writeJson(join(home, 'config/containers/auth.json'), auths('podman, lasting'));
  assert.equal(await user(), 'podman, lasting');
  await writeJson(join(home, 'run/containers/auth.json'), auths('podman'));
  assert.equal(await user(), 'podman');
  await writeJson(join(home, '.docker/config.json'), auths('docker'));
  assert.equal(await user(), 'docker');
  assert.deepEqual(warnings, []);
  await writeText(join(home, '.docker/config.json'), '{s3cret');
  assert.equal(await user(), 'podman');
  assert.match(warnings.join(), /config.json is not valid JSON/);
});
