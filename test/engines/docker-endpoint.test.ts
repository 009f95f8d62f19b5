import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { dockerEndpoint } from '../../src/engines/docker/docker-endpoint.ts';
import type { ApiEndpoint } from '../../src/engines/docker-api/endpoint.ts';
import { docker } from '../../src/engines/docker/docker.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const CERTS = { ca: 'CA', cert: 'CERT', key: 'KEY' };
const SOCKET: ApiEndpoint = { kind: 'socket', path: '/var/run/docker.sock' };

const HOSTS: [host: string, verify: boolean, endpoint: ApiEndpoint][] = [
  ['', false, SOCKET],
  ['unix://', false, SOCKET],
  ['unix:///run/user/1000/docker.sock', false, { kind: 'socket', path: '/run/user/1000/docker.sock' }],
  ['tcp://build.example', false, { kind: 'tcp', host: 'build.example', port: 2375 }],
  ['tcp://build.example:80', false, { kind: 'tcp', host: 'build.example', port: 80 }],
  ['build.example:2000', false, { kind: 'tcp', host: 'build.example', port: 2000 }],
  ['tcp://[::1]:2375', false, { kind: 'tcp', host: '::1', port: 2375 }],
  ['tcp://build.example', true, { kind: 'tcp', host: 'build.example', port: 2376, tls: CERTS }],
  ['tcp://10.0.0.1:2000', true, { kind: 'tcp', host: '10.0.0.1', port: 2000, tls: CERTS }],
  ['unix:///a', true, { kind: 'socket', path: '/a' }],
];

for (const [host, verify, endpoint] of HOSTS) {
  test(`DOCKER_HOST ${JSON.stringify(host)}${verify ? ' with TLS' : ''} is ${JSON.stringify(endpoint)}`, async (t) => {
    const certs = await certificates(t);
    const env = { HOME: '/nonexistent', DOCKER_HOST: host, DOCKER_CERT_PATH: certs };
    assert.deepEqual(await dockerEndpoint({ ...env, DOCKER_TLS_VERIFY: verify ? '1' : '' }), endpoint);
  });
}

for (const host of [
  'ssh://me@build.example',
  'ftp://build.example',
  'tcp://',
  'tcp://a b',
  'tcp://x:99999',
  'fd://3',
]) {
  test(`DOCKER_HOST ${host} is refused with what to write`, async () => {
    const refused = dockerEndpoint({ HOME: '/nonexistent', DOCKER_HOST: host });
    await assert.rejects(refused, (error) => isQuayctlError(error, 'engine') && error.hint !== undefined);
  });
}

test('a password in DOCKER_HOST is in no message', async () => {
  const engine = await docker.open({ env: { DOCKER_HOST: 'tcp://me:secret@127.0.0.1:1' }, options: {} });
  await assert.rejects(
    engine.platform(new AbortController().signal),
    (error) => !String(error).includes('secret'),
  );
});

test('the current context is used, DOCKER_CONTEXT before it, DOCKER_HOST before both', async (t) => {
  const config = await tempDirectory(t, 'docker-config');
  await writeFile(join(config, 'config.json'), '{"currentContext":"desktop"}');
  await context(config, 'desktop', 'unix:///home/me/.docker/desktop/docker.sock');
  await context(config, 'far', 'tcp://far.example:2376', true);
  const env = { DOCKER_CONFIG: config };
  assert.deepEqual(await dockerEndpoint(env), {
    kind: 'socket',
    path: '/home/me/.docker/desktop/docker.sock',
  });
  assert.deepEqual(await dockerEndpoint({ ...env, DOCKER_CONTEXT: 'far' }), {
    kind: 'tcp',
    host: 'far.example',
    port: 2376,
    tls: CERTS,
  });
  assert.deepEqual(await dockerEndpoint({ ...env, DOCKER_CONTEXT: 'default' }), SOCKET);
  assert.deepEqual(await dockerEndpoint({ ...env, DOCKER_HOST: 'unix:///x' }), {
    kind: 'socket',
    path: '/x',
  });
  const missing = dockerEndpoint({ ...env, DOCKER_CONTEXT: 'no/../such' });
  await assert.rejects(missing, (error) => isQuayctlError(error, 'engine'));
});

test('a config.json that is no JSON is as none', async (t) => {
  const config = await tempDirectory(t, 'docker-config');
  for (const text of ['{', '[]', 'null', '{"currentContext":7}']) {
    await writeFile(join(config, 'config.json'), text);
    assert.deepEqual(await dockerEndpoint({ DOCKER_CONFIG: config }), SOCKET);
  }
});

test(
  'a daemon behind TLS answers with the certificates of DOCKER_CERT_PATH, and only with them',
  {
    skip: skipWithout('root', 'dockerd', 'openssl'),
  },
  async (t) => {
    const certs = await realCertificates(t);
    const port = await freePort();
    const file = (name: string): string => join(certs, name);
    await startDockerd(t, [
      `--host=tcp://127.0.0.1:${port}`,
      '--tlsverify',
      `--tlscacert=${file('ca.pem')}`,
      `--tlscert=${file('cert.pem')}`,
      `--tlskey=${file('key.pem')}`,
    ]);
    const env = { HOME: '/nonexistent', DOCKER_HOST: `tcp://127.0.0.1:${port}` };
    const signal = new AbortController().signal;
    const trusted = await docker.open({
      env: { ...env, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: certs },
      options: {},
    });
    assert.equal((await trusted.platform(signal)).os, 'linux');
    const others = await realCertificates(t);
    for (const wrong of [
      { ...env, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: others },
      { ...env, DOCKER_TLS_VERIFY: '1' },
      env,
    ]) {
      const engine = await docker.open({ env: wrong, options: {} });
      await assert.rejects(
        engine.platform(signal),
        (error) => isQuayctlError(error, 'engine') && /TLS/.test(`${error.message} ${error.hint}`),
      );
    }
  },
);

async function certificates(t: TestContext): Promise<string> {
  const directory = await tempDirectory(t, 'certs');
  await writeCertificates(directory);
  return directory;
}

async function writeCertificates(directory: string): Promise<void> {
  for (const [name, text] of Object.entries(CERTS)) await writeFile(join(directory, `${name}.pem`), text);
}

async function context(config: string, name: string, host: string, tls = false): Promise<void> {
  const id = createHash('sha256').update(name).digest('hex');
  await mkdir(join(config, 'contexts/meta', id), { recursive: true });
  const meta = { Name: name, Metadata: {}, Endpoints: { docker: { Host: host, SkipTLSVerify: false } } };
  await writeFile(join(config, 'contexts/meta', id, 'meta.json'), JSON.stringify(meta));
  if (!tls) return;
  const folder = join(config, 'contexts/tls', id, 'docker');
  await mkdir(folder, { recursive: true });
  await writeCertificates(folder);
}

/** One key pair that is authority, server and client in one. */
async function realCertificates(t: TestContext): Promise<string> {
  const directory = await tempDirectory(t, 'certs');
  const file = (name: string): string => join(directory, name);
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    file('key.pem'),
  ];
  await mustRun('openssl', ['req', '-x509', ...key, '-out', file('cert.pem'), '-days', '2', ...subject]);
  await mustRun('cp', [file('cert.pem'), file('ca.pem')]);
  return directory;
}

/** dockerd cannot be told to take a port of the kernel's choice. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
