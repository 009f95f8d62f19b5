import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageConfig } from '../../../src/image/config.ts';
import { digestOf } from '../../../src/image/digest.ts';
import { appOf } from '../../../src/serve/aci/app.ts';
import { isQuayctlError } from '../../../src/base/errors.ts';
import { parseAppcName } from '../../../src/image/appc-name.ts';
import { aciManifest, aciName, type AciIdentity } from '../../../src/serve/aci/manifest.ts';
import { acName } from '../../../src/serve/aci/names.ts';
import { neverBreaks } from '../../helpers/fuzz.ts';

const IDENTITY: AciIdentity = {
  server: 'quay.io',
  repository: 'ns/repo',
  tag: 'V1.0_x',
  platform: { os: 'linux', arch: 'amd64' },
  manifest: digestOf(Buffer.from('manifest')),
  config: digestOf(Buffer.from('config')),
};

function manifestOf(config: object): Record<string, unknown> {
  const bytes = Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [] }, ...config }));
  return JSON.parse(Buffer.from(aciManifest(IDENTITY, parseImageConfig(bytes))).toString()) as Record<
    string,
    unknown
  >;
}

test('the manifest of an image that says everything', () => {
  const manifest = manifestOf({
    author: 'A. U. Thor',
    created: '2024-02-03T04:05:06.123456789Z',
    config: {
      User: 'www:data',
      Entrypoint: ['/bin/app', '--x'],
      Cmd: ['serve'],
      WorkingDir: '/srv',
      Env: ['PATH=/bin', 'A=b=c', 'EMPTY=', 'NOTHING', 'PATH=/usr/bin'],
      Volumes: { '/data/x_y': {}, '/data/x-y': {}, '/Log': {} },
      ExposedPorts: { '80/tcp': {}, '53/udp': {}, '443': {}, '99/sctp': {}, '0/tcp': {} },
    },
  });
  assert.deepEqual(manifest, {
    acKind: 'ImageManifest',
    acVersion: '0.8.10',
    name: 'quay.io/ns/repo',
    labels: [
      { name: 'version', value: 'V1.0_x' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: 'amd64' },
    ],
    app: {
      exec: ['/bin/app', '--x', 'serve'],
      user: 'www',
      group: 'data',
      workingDirectory: '/srv',
      environment: [
        { name: 'PATH', value: '/usr/bin' },
        { name: 'A', value: 'b=c' },
        { name: 'EMPTY', value: '' },
      ],
      mountPoints: [
        { name: 'volume-data-x-y', path: '/data/x-y' },
        { name: 'volume-data-x-y-1', path: '/data/x_y' },
        { name: 'volume-log', path: '/Log' },
      ],
      ports: [
        { name: '443-tcp', protocol: 'tcp', port: 443, count: 1, socketActivated: false },
        { name: '53-udp', protocol: 'udp', port: 53, count: 1, socketActivated: false },
        { name: '80-tcp', protocol: 'tcp', port: 80, count: 1, socketActivated: false },
      ],
    },
    annotations: [
      { name: 'author', value: 'A. U. Thor' },
      { name: 'created', value: '2024-02-03T04:05:06.123456789Z' },
      { name: 'appc.io/docker/originalname', value: 'quay.io/ns/repo:V1.0_x' },
      { name: 'appc.io/docker/registryurl', value: 'quay.io' },
      { name: 'appc.io/docker/repository', value: 'ns/repo' },
      { name: 'appc.io/docker/imageid', value: IDENTITY.config },
      { name: 'appc.io/docker/manifesthash', value: IDENTITY.manifest },
      { name: 'appc.io/docker/entrypoint', value: '["/bin/app","--x"]' },
      { name: 'appc.io/docker/cmd', value: '["serve"]' },
      { name: 'appc.io/docker/tag', value: 'V1.0_x' },
    ],
  });
});

test('the manifest of an image that says nothing is what rkt takes', () => {
  const manifest = manifestOf({});
  assert.deepEqual(manifest['app'], { exec: null, user: '0', group: '0' });
  const named = manifest['annotations'] as { name: string; value: string }[];
  assert.ok(named.every(({ value }) => value !== ''));
});

const OWNERS: readonly (readonly [string, string, string])[] = [
  ['', '0', '0'],
  ['1000', '1000', '1000'],
  ['u:g', 'u', 'g'],
  ['u:', 'u', 'u'],
  [':g', '0', 'g'],
  [':', '0', '0'],
];
for (const [text, user, group] of OWNERS) {
  test(`user ${JSON.stringify(text)} is ${user}, of group ${group}`, () => {
    const app = appOf({ config: { User: text } });
    assert.deepEqual([app['user'], app['group']], [user, group]);
  });
}

test('dates that rkt refuses are left out, and relative directories begin at the root', () => {
  for (const created of [
    '2024-02-30T00:00:00Z',
    '2024-01-01T24:00:00Z',
    '2024-01-01T00:00:60Z',
    'yesterday',
    '2024-02-30',
    '2024-13-01T00:00:00Z',
    7,
    null,
  ]) {
    const annotations = manifestOf({ created })['annotations'] as { name: string }[];
    assert.ok(!annotations.some(({ name }) => name === 'created'), String(created));
  }
  assert.equal(appOf({ config: { WorkingDir: 'srv/app' } })['workingDirectory'], '/srv/app');
});

test('the same image makes the same bytes, in whatever order its config is written', () => {
  const one = manifestOf({
    config: { Volumes: { '/b': {}, '/a': {} }, ExposedPorts: { '2/tcp': {}, '1': {} } },
  });
  const other = manifestOf({
    config: { ExposedPorts: { '1': {}, '2/tcp': {} }, Volumes: { '/a': {}, '/b': {} } },
  });
  assert.deepEqual(one, other);
});

const NAMES = ['ns/app', 'ns/my--app', 'ns/my__app', 'ns/my_app', 'a.b/c-d/e', 'ns/re-po_x.y'];
for (const repository of NAMES) {
  test(`${repository} has the name that it is asked for by, and no other`, () => {
    const name = `quay.io/${repository}`;
    assert.equal(aciName({ server: 'quay.io', repository }), name);
    assert.deepEqual({ ...parseAppcName(name) }, { name, labels: {} });
  });
}

for (const server of ['registry.example:5000', '[::1]', 'Quay.io', '-x']) {
  test(`an image of ${server} is refused: rkt could not ask for it`, () => {
    assert.throws(
      () => aciName({ server, repository: 'ns/app' }),
      (error) => isQuayctlError(error, 'unsupported') && /rkt has no name/.test(error.message),
    );
  });
}

test('whatever the text, the names of ports and mounts are names of appc, or empty', async (t) => {
  const seeds = [Buffer.from('volume//data/x_y-z~')];
  await neverBreaks(
    t,
    (random) => Buffer.from(random.mutate(random.pick(seeds), seeds)).toString('latin1'),
    (text) => assert.match(acName(text), /^(?:[a-z0-9]+(?:-[a-z0-9]+)*)?$/),
  );
});

test('variables that rkt has no name for are left out, and of two the first', () => {
  const Env = ['1A=x', 'A B=x', '=x', 'none', 'A=1', 'A=2', '_b.c-d=3=4', 'é=x', 'A\n=x', 'E='];
  assert.deepEqual(appOf({ config: { Env } })['environment'], [
    { name: 'A', value: '2' },
    { name: '_b.c-d', value: '3=4' },
    { name: 'E', value: '' },
  ]);
});
