import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Credential } from '../../src/credentials/credential.ts';
import { PodmanAuth, podmanAuthPaths } from '../../src/credentials/podman-auth.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { credentialStoreSuite, HELD } from './credential-store.suite.ts';
import { base64, failsWith, helperEnv, signal, writeJson, writeText } from './places.ts';

credentialStoreSuite('podman auth', (scope) =>
  open(scope, { auths: { [HELD.registry]: { auth: base64(`${HELD.username}:${HELD.password}`) } } }),
);

const entry = (username: string): object => ({ auth: base64(`${username}:s3cret`) });
const FILE = {
  auths: {
    'quay.io': entry('host'),
    'quay.io/ns': entry('namespace'),
    'quay.io/ns/repo': entry('repository'),
    'docker.io/library': entry('official'),
    'https://index.docker.io/v1/': entry('hub'),
    'only.example/ns': entry('only'),
  },
  credHelpers: { 'quay.example': 'fixture' },
  // docker's word; podman does not know it
  credsStore: 'not-there',
};

const USERS: readonly (readonly [
  registry: string,
  repository: string | undefined,
  user: string | undefined,
])[] = [
  ['quay.io', 'ns/repo', 'repository'],
  ['quay.io', 'ns/repo/deeper', 'repository'],
  ['quay.io', 'ns/repository', 'namespace'],
  ['quay.io', 'ns', 'namespace'],
  ['quay.io', 'nsx/repo', 'host'],
  ['quay.io', undefined, 'host'],
  ['docker.io', 'library/ubuntu', 'official'],
  ['docker.io', 'me/app', 'hub'],
  ['only.example', 'ns/app', 'only'],
  ['only.example', 'other/app', undefined],
  ['only.example', undefined, undefined],
  ['quay.example', 'ns/app', 'helper-user'],
];

for (const [registry, repository, user] of USERS) {
  test(`podman auth: ${registry}/${repository ?? ''} belongs to ${user ?? 'nobody'}`, async (t) => {
    const credential = await (await open(t, FILE)).find(registry, repository, signal);
    assert.equal(credential?.kind === 'basic' ? credential.username : undefined, user);
  });
}

test('REGISTRY_AUTH_FILE stands for all, else the runtime directory before the configuration', () => {
  const env = { XDG_RUNTIME_DIR: '/run/user/7', XDG_CONFIG_HOME: '/config' };
  assert.deepEqual(podmanAuthPaths({ ...env, REGISTRY_AUTH_FILE: '/a.json' }, '/home/me', 7), ['/a.json']);
  assert.deepEqual(podmanAuthPaths(env, '/home/me', 7), [
    '/run/user/7/containers/auth.json',
    '/config/containers/auth.json',
  ]);
  assert.deepEqual(podmanAuthPaths({ XDG_RUNTIME_DIR: 'relative' }, '/home/me', 7), [
    '/run/containers/7/auth.json',
    '/home/me/.config/containers/auth.json',
  ]);
});

test('a malformed file is an error that names it and not its content; /dev/null is none', async (t) => {
  const path = await writeText(join(await tempDirectory(t), 'auth.json'), '{"auths": {"quay.io": s3cret');
  const search = new PodmanAuth(path, {}).find('quay.io', 'ns/repo', signal);
  await assert.rejects(search, failsWith('credentials', /auth.json is not valid JSON$/));
  assert.equal(await new PodmanAuth('/dev/null', {}).find('quay.io', 'ns/repo', signal), undefined);
});

test(
  'reads what the real `skopeo login` wrote, for a host and for a namespace',
  { skip: skipWithout('skopeo', 'docker-registry', 'htpasswd') },
  async (t) => {
    const registry = await startRegistry(t, {
      auth: { kind: 'htpasswd', username: 'me', password: 's3cret' },
    });
    const path = join(await tempDirectory(t), 'auth.json');
    const store = new PodmanAuth(path, {});
    const expected: Credential = { kind: 'basic', username: 'me', password: 's3cret' };
    for (const [scope, other] of [
      [`${registry.host}/team`, undefined],
      [registry.host, expected],
    ] as const) {
      await mustRun(
        programPath('skopeo'),
        ['login', '-u', 'me', '--password-stdin', '--tls-verify=false', '--authfile', path, scope],
        { input: 's3cret' },
      );
      assert.deepEqual(await store.find(registry.host, 'team/app', signal), expected);
      assert.deepEqual(await store.find(registry.host, 'other/app', signal), other);
    }
  },
);

async function open(scope: Scope, file: unknown): Promise<PodmanAuth> {
  return new PodmanAuth(await writeJson(join(await tempDirectory(scope), 'auth.json'), file), helperEnv);
}
