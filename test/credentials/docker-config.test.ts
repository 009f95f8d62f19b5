import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Credential } from '../../src/credentials/credential.ts';
import { DockerConfig, dockerConfigPath } from '../../src/credentials/docker-config.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { credentialStoreSuite, HELD } from './credential-store.suite.ts';
import { base64, failsWith, helperEnv, signal, writeJson, writeText } from './places.ts';

const AUTH = base64('me:s3cret');
const ME: Credential = { kind: 'basic', username: 'me', password: 's3cret' };

credentialStoreSuite('docker config', (scope) =>
  config(scope, { auths: { [HELD.registry]: { auth: AUTH } } }),
);

test('the file lies in DOCKER_CONFIG, else in the home', () => {
  assert.equal(
    dockerConfigPath({ DOCKER_CONFIG: '/etc/docker-client' }, '/home/me'),
    '/etc/docker-client/config.json',
  );
  assert.equal(dockerConfigPath({}, '/home/me'), '/home/me/.docker/config.json');
  assert.equal(dockerConfigPath({ DOCKER_CONFIG: '' }, '/home/me'), '/home/me/.docker/config.json');
});

const FOUND: readonly (readonly [
  name: string,
  file: unknown,
  registry: string,
  expected: Credential | undefined,
])[] = [
  [
    'Docker Hub under its old name',
    { auths: { 'https://index.docker.io/v1/': { auth: AUTH } } },
    'docker.io',
    ME,
  ],
  ['Docker Hub under its own name', { auths: { 'docker.io': { auth: AUTH } } }, 'docker.io', ME],
  ['Docker Hub under its index', { auths: { 'index.docker.io': { auth: AUTH } } }, 'docker.io', ME],
  ['a host with scheme and version', { auths: { 'https://quay.io/v1/': { auth: AUTH } } }, 'quay.io', ME],
  [
    'the plain host before its old forms',
    {
      auths: { 'https://quay.io/v1/': { auth: base64('old:s3cret') }, 'quay.io': { auth: AUTH } },
    },
    'quay.io',
    ME,
  ],
  ['a key with a path, by its host', { auths: { 'quay.io/ns': { auth: AUTH } } }, 'quay.io', ME],
  [
    'the file where the store of all is not installed',
    { credsStore: 'not-there', auths: { 'quay.io': { auth: AUTH } } },
    'quay.io',
    ME,
  ],
  [
    'the file where the own helper is not installed',
    { credHelpers: { 'quay.io': 'not-there' }, auths: { 'https://quay.io/v1/': { auth: AUTH } } },
    'quay.io',
    ME,
  ],
  ['no other port', { auths: { 'quay.io:443': { auth: AUTH } } }, 'quay.io', undefined],
  [
    'username and password in clear',
    { auths: { 'quay.io': { username: 'me', password: 's3cret' } } },
    'quay.io',
    ME,
  ],
  [
    'auth before username and password',
    {
      auths: { 'quay.io': { auth: AUTH, username: 'you', password: 'other' } },
    },
    'quay.io',
    ME,
  ],
  [
    'a password with colons, and padding of NULs',
    {
      auths: { 'quay.io': { auth: base64('me:a:b:c\0\0') } },
    },
    'quay.io',
    { kind: 'basic', username: 'me', password: 'a:b:c' },
  ],
  [
    'a password beyond ASCII',
    { auths: { 'quay.io': { auth: base64('me:pä🔑') } } },
    'quay.io',
    {
      kind: 'basic',
      username: 'me',
      password: 'pä🔑',
    },
  ],
  ['auth without its padding', { auths: { 'quay.io': { auth: AUTH.replaceAll('=', '') } } }, 'quay.io', ME],
  [
    'an identity token, its user from auth',
    {
      auths: { 'acr.example': { auth: base64('00000000-0000:'), identitytoken: 'ey.refresh' } },
    },
    'acr.example',
    { kind: 'identity-token', username: '00000000-0000', token: 'ey.refresh' },
  ],
  [
    'an identity token alone',
    { auths: { 'acr.example': { identitytoken: 't' } } },
    'acr.example',
    {
      kind: 'identity-token',
      token: 't',
    },
  ],
  [
    'a registry token before all else',
    {
      auths: { 'quay.io': { auth: AUTH, identitytoken: 'i', registrytoken: 'r' } },
    },
    'quay.io',
    { kind: 'registry-token', token: 'r' },
  ],
  ['the empty entry that a login with a helper leaves', { auths: { 'quay.io': {} } }, 'quay.io', undefined],
  ['empty strings', { auths: { 'quay.io': { auth: '', username: '', password: '' } } }, 'quay.io', undefined],
  [
    'a broken entry of another registry does no harm',
    {
      auths: { 'bad.example': { auth: '!!' }, 'quay.io': { auth: AUTH } },
    },
    'quay.io',
    ME,
  ],
  [
    'other settings do no harm',
    {
      auths: { 'quay.io': { auth: AUTH } },
      HttpHeaders: { 'User-Agent': 'x' },
      psFormat: 1,
      credHelpers: null,
    },
    'quay.io',
    ME,
  ],
  ['no auths at all', { currentContext: 'default' }, 'quay.io', undefined],
  [
    'the helper of the registry',
    { credHelpers: { 'quay.example': 'fixture' } },
    'quay.example',
    {
      kind: 'basic',
      username: 'helper-user',
      password: 's3cret of quay.example',
    },
  ],
  [
    'the helper of Docker Hub under any of its names',
    { credHelpers: { 'index.docker.io': 'fixture' } },
    'docker.io',
    {
      kind: 'basic',
      username: 'hub-user',
      password: 'hub-secret',
    },
  ],
  [
    'the store of all',
    { credsStore: 'fixture', auths: { 'https://index.docker.io/v1/': {} } },
    'docker.io',
    {
      kind: 'basic',
      username: 'hub-user',
      password: 'hub-secret',
    },
  ],
  [
    'the own helper before the store of all',
    {
      credsStore: 'not-there',
      credHelpers: { 'token.example': 'fixture' },
    },
    'token.example',
    { kind: 'identity-token', token: 'identity-s3cret' },
  ],
  [
    'the helper before auths',
    {
      credsStore: 'fixture',
      auths: { 'quay.example': { auth: AUTH } },
    },
    'quay.example',
    { kind: 'basic', username: 'helper-user', password: 's3cret of quay.example' },
  ],
  [
    'auths where the helper has none',
    {
      credsStore: 'fixture',
      auths: { 'unknown.example': { auth: AUTH } },
    },
    'unknown.example',
    ME,
  ],
  [
    'the empty helper name means the file',
    {
      credsStore: 'not-there',
      credHelpers: { 'quay.io': '' },
      auths: { 'quay.io': { auth: AUTH } },
    },
    'quay.io',
    ME,
  ],
];

for (const [name, file, registry, expected] of FOUND) {
  test(`docker config: ${name}`, async (t) => {
    assert.deepEqual(await (await config(t, file)).find(registry, undefined, signal), expected);
  });
}

test('docker config: of keys with a path the longest that fits counts, then the host', async (t) => {
  const login = (user: string): object => ({ auth: base64(`${user}:s3cret`) });
  const file = {
    auths: {
      'quay.io': login('host'),
      'quay.io/team': login('team'),
      'https://quay.io/team/app/': login('app'),
      'quay.io/te': login('prefix of a word'),
      'other.example/team/app': login('other'),
    },
  };
  const store = await config(t, file);
  for (const [repository, username] of [
    ['team/app', 'app'],
    ['team/application', 'team'],
    ['team/app/part', 'app'],
    ['teams/app', 'host'],
    [undefined, 'host'],
  ] as const) {
    const found = await store.find('quay.io', repository, signal);
    assert.equal(found?.kind === 'basic' && found.username, username, repository);
  }
});

const REFUSED: readonly (readonly [name: string, text: string, pattern: RegExp])[] = [
  ['text that is no JSON', '{"auths": {"quay.io": {"auth": "czNjcmV0"', /config.json is not valid JSON$/],
  ['an array', '["s3cret"]', /holds no JSON object$/],
  ['auths that are no object', '{"auths": ["s3cret"]}', /auths is not an object$/],
  ['an entry that is no object', '{"auths": {"quay.io": "s3cret"}}', /the entry "quay.io" is not an object$/],
  [
    'an auth that is no base64',
    '{"auths": {"quay.io": {"auth": "s3cret!"}}}',
    /is not base64 of USER:PASSWORD$/,
  ],
  [
    'an auth without a user',
    '{"auths": {"quay.io": {"auth": "OnMzY3JldA=="}}}',
    /is not base64 of USER:PASSWORD$/,
  ],
  [
    'a password that is no string',
    '{"auths": {"quay.io": {"username": "u", "password": ["s3cret"]}}}',
    /a password that/,
  ],
  [
    'a token that would break out of its header',
    '{"auths": {"quay.io": {"registrytoken": "s3cret\\r\\nX: y"}}}',
    /not a valid token$/,
  ],
  [
    'a helper that is no string',
    '{"credHelpers": {"quay.io": {"s3cret": 1}}}',
    /the name of a credential helper/,
  ],
  ['a helper with a path', '{"credsStore": "../../tmp/evil"}', /not the name of a credential helper/],
  [
    'a helper that is not installed',
    '{"credsStore": "not-there"}',
    /docker-credential-not-there is not in PATH$/,
  ],
  ['a file of more than a megabyte', ' '.repeat(2 ** 20 + 1), /is larger than 1048576 bytes$/],
  ['a deeply nested file', '['.repeat(200_000), /is not valid JSON$|holds no JSON object$/],
];

for (const [name, text, pattern] of REFUSED) {
  test(`docker config refuses ${name}, without repeating it`, async (t) => {
    const path = await writeText(join(await tempDirectory(t), 'config.json'), text);
    const search = new DockerConfig(path, helperEnv).find('quay.io', undefined, signal);
    await assert.rejects(search, failsWith('credentials', pattern));
  });
}

test('no file, an empty one, one with a byte order mark', async (t) => {
  const folder = await tempDirectory(t);
  const find = (path: string): Promise<Credential | undefined> =>
    new DockerConfig(path, {}).find('quay.io', undefined, signal);
  assert.equal(await find(join(folder, 'config.json')), undefined);
  assert.equal(await find(await writeText(join(folder, 'empty.json'), '')), undefined);
  assert.equal(await find(join(folder, 'empty.json/config.json')), undefined);
  const marked = await writeText(
    join(folder, 'bom.json'),
    `\uFEFF${JSON.stringify({ auths: { 'quay.io': { auth: AUTH } } })}`,
  );
  assert.deepEqual(await find(marked), ME);
  await symlink(marked, join(folder, 'link.json'));
  assert.deepEqual(await find(join(folder, 'link.json')), ME);
});

test('what is no file is an error at once: a directory, a pipe that nobody writes to', async (t) => {
  const folder = await tempDirectory(t);
  await mkdir(join(folder, 'directory'));
  await mustRun('mkfifo', [join(folder, 'pipe')]);
  for (const name of ['directory', 'pipe']) {
    const search = new DockerConfig(join(folder, name), {}).find('quay.io', undefined, signal);
    await assert.rejects(search, failsWith('credentials', /is not a regular file$/));
  }
});

test(
  'reads what the real `docker login` wrote',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry', 'htpasswd') },
  async (t) => {
    const registry = await startRegistry(t, {
      auth: { kind: 'htpasswd', username: 'me', password: 's3cret' },
    });
    const engine = await startDockerd(t);
    const folder = await tempDirectory(t);
    await mustRun(programPath('docker'), ['login', '-u', 'me', '--password-stdin', registry.host], {
      input: 's3cret\n',
      env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}`, DOCKER_CONFIG: folder },
    });
    const store = new DockerConfig(join(folder, 'config.json'), {});
    assert.deepEqual(await store.find(registry.host, 'team/app', signal), ME);
  },
);

async function config(scope: Scope, file: unknown): Promise<DockerConfig> {
  return new DockerConfig(await writeJson(join(await tempDirectory(scope), 'config.json'), file), helperEnv);
}
