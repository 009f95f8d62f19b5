import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { runLogin, type LoginDependencies, type LoginRequest } from '../../src/cli/login.ts';
import { runLogout } from '../../src/cli/logout.ts';
import { startKeychain } from '../helpers/keychain.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { converse, type Conversation } from '../helpers/terminal.ts';

const QUAYCTL = join(import.meta.dirname, '../../bin/quayctl');
const KEYCHAIN = ['dbus-daemon', 'dbus-send', 'gnome-keyring-daemon', 'docker-registry', 'htpasswd'];
const skip = skipWithout(...KEYCHAIN);
const skipTerminal = skipWithout(...KEYCHAIN, 'python3');

test(
  'login on a terminal: asks for both, shows no password, keeps it; logout removes it',
  { skip: skipTerminal },
  async (t) => {
    const { node, host } = await open(t);
    const { shown, exitCode, echo } = await type(
      node,
      ['login', host],
      [
        [`Username for ${host}: `, 'me\n'],
        [`Password for me at ${host}: `, 's3xcret\x7f\x7f\x7f\x7f\x7f\x1b[Dcret\r'],
      ],
    );
    assert.match(shown, new RegExp(`Logged in to ${host} as me`));
    assert.deepEqual({ exitCode, echo }, { exitCode: 0, echo: true });
    assert.doesNotMatch(shown, /s3|cret|\*/);
    assert.match(await listOf(node), new RegExp(host));

    assert.match((await node.run(['logout', host])).stderr, /^Removed the credential/);
    const again = await node.run(['logout', host]);
    assert.equal(again.code, 0);
    assert.match(again.stderr, /^There was no credential/);
  },
);

test(
  'Ctrl-C at the password ends with 130, Ctrl-D with 2; the terminal is as before',
  { skip: skipTerminal },
  async (t) => {
    const { node, host } = await open(t);
    for (const [key, code] of [
      ['s3\x03', 130],
      ['s3\x04', 2],
    ] as const) {
      const { shown, exitCode, echo } = await type(node, ['login', host, '-u', 'me'], [['Password', key]]);
      assert.deepEqual({ exitCode, echo }, { exitCode: code, echo: true }, shown);
      assert.doesNotMatch(shown, /s3/);
    }
    assert.equal(await listOf(node), '');
  },
);

test('Ctrl-C at the username ends with 130', { skip: skipTerminal }, async (t) => {
  const { node, host } = await open(t);
  const { exitCode, echo } = await type(node, ['login', host], [['Username', '\x03']]);
  assert.deepEqual({ exitCode, echo }, { exitCode: 130, echo: true });
});

test('login --password-stdin: the last newline is no part of the password', { skip }, async (t) => {
  const { node, host } = await open(t);
  for (const input of ['s3cret', 's3cret\n', 's3cret\r\n']) {
    const login = await node.run(['login', `https://${host}/v2/`, '-u', 'me', '--password-stdin'], { input });
    assert.equal(login.code, 0, login.stderr);
    assert.equal(login.stdout, '');
    assert.equal(login.stderr, `Logged in to ${host} as me\n`);
  }
});

test('a password that the registry refuses is not kept: exit 3, and no word of it', { skip }, async (t) => {
  const { node, host } = await open(t);
  const input = 'wr0ng-s3cret';
  const { code, stdout, stderr } = await node.run(['login', host, '-u', 'me', '--password-stdin'], { input });
  assert.equal(code, 3, stderr);
  assert.doesNotMatch(stdout + stderr, /s3cret|d3Iwbmct/);
  assert.equal(await listOf(node), '');
});

const NO_KEYCHAIN = { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nowhere/bus' };

test(
  'without a keychain the password goes where docker login keeps it, and login says so',
  {
    skip: skipWithout('docker-registry', 'htpasswd'),
  },
  async (t) => {
    const auth = { kind: 'htpasswd', username: 'me', password: 's3cret' } as const;
    const { host } = await startRegistry(t, { auth });
    const node = await quayctlNode(t, { env: NO_KEYCHAIN });
    const file = join(node.env['DOCKER_CONFIG'] ?? '', 'config.json');
    await mkdir(dirname(file));
    const own = { auths: { 'b.example': { auth: 'eDp5' } }, psFormat: 'table' };
    await writeFile(file, JSON.stringify(own));
    const login = (input: string): ReturnType<QuayctlNode['run']> =>
      node.run(['login', host, '-u', 'me', '--password-stdin'], { input });
    assert.equal((await login('wrong')).code, 3);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), own, 'nothing is kept that was not accepted');
    const { code, stderr } = await login('s3cret');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^No keychain: the keychain (?:refuses|needs keytar|took)/);
    assert.ok(
      stderr.includes(`The password goes into ${file}, as base64: whoever reads that file has it`),
      stderr,
    );
    assert.doesNotMatch(stderr, /s3cret/);
    const kept = {
      ...own,
      auths: { ...own.auths, [host]: { auth: Buffer.from('me:s3cret').toString('base64') } },
    };
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), kept);
    assert.equal((await stat(file)).mode & 0o777, 0o600);

    const found = await node.run(['doctor', `${host}/a:1`]);
    assert.ok(found.stdout.includes(`the password of me for ${host}, from ${file}`), found.stdout);
    assert.match((await node.run(['logout', host])).stderr, /^Removed the credential/);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), own);
    // What others put there stays.
    assert.match((await node.run(['logout', 'b.example'])).stderr, /^There was no credential/);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), own);
  },
);

test(
  "without a keychain Docker's own credential helper is used where one is named",
  {
    skip: skipWithout('docker-registry', 'htpasswd'),
  },
  async (t) => {
    const auth = { kind: 'htpasswd', username: 'me', password: 's3cret' } as const;
    const { host } = await startRegistry(t, { auth });
    const bin = await tempDirectory(t, 'helper');
    const helper = join(bin, 'docker-credential-test');
    await writeFile(helper, `#!/bin/sh\necho "$1 $(cat)" >> ${bin}/said\n`);
    await chmod(helper, 0o755);
    const node = await quayctlNode(t, { env: { ...NO_KEYCHAIN, PATH: `${bin}:${process.env['PATH']}` } });
    const file = join(node.env['DOCKER_CONFIG'] ?? '', 'config.json');
    await mkdir(dirname(file));
    await writeFile(file, JSON.stringify({ credsStore: 'test' }));
    const { code, stderr } = await node.run(['login', host, '-u', 'me', '--password-stdin'], {
      input: 's3cret',
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /The password goes into docker-credential-test, as \S+config\.json says/);
    assert.equal((await node.run(['logout', host])).code, 0);
    const [stored = '', erased] = (await readFile(join(bin, 'said'), 'utf8')).trim().split('\n');
    assert.deepEqual(JSON.parse(stored.slice('store '.length)), {
      ServerURL: host,
      Username: 'me',
      Secret: 's3cret',
    });
    assert.equal(erased, `erase ${host}`);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { credsStore: 'test' });
  },
);

test('without a keychain a config.json that cannot be read is told before a password is asked for', async (t) => {
  const node = await quayctlNode(t, { env: NO_KEYCHAIN });
  const file = join(node.env['DOCKER_CONFIG'] ?? '', 'config.json');
  await mkdir(dirname(file));
  await writeFile(file, '{"auths":');
  const { code, stderr } = await node.run(['login', 'quay.invalid', '-u', 'me', '--password-stdin'], {
    input: 'x',
  });
  assert.equal(code, 1);
  assert.match(stderr, /^quayctl: \S+config\.json is not valid JSON$/m);
  assert.equal(await readFile(file, 'utf8'), '{"auths":');
});

const REFUSED: readonly (readonly [name: string, request: Partial<LoginRequest>, pattern: RegExp])[] = [
  ['no terminal and no --password-stdin', { username: 'me', passwordStdin: false }, /stdin is no terminal/],
  ['--password-stdin without a user', { username: undefined }, /needs --username/],
  ['a user with a colon', { username: 'me:you' }, /no colon/],
  ['an empty user', { username: '' }, /one character at least/],
  ['an image', { registry: 'quay.io/ns/repo' }, /^not a registry: "quay.io\/ns\/repo"$/],
  ['a password in the URL', { registry: 'https://me:s3cret@quay.io' }, /^not a registry$/],
  ['an empty registry', { registry: '' }, /^not a registry/],
];

for (const [name, request, pattern] of REFUSED) {
  test(`login refuses ${name} before anything is asked`, async () => {
    const login = runLogin(
      { registry: 'quay.io', username: 'me', passwordStdin: true, ...request },
      dependencies({ keychain: { check: async () => assert.fail(), keep: async () => assert.fail() } }),
    );
    await assert.rejects(login, { code: 'usage', message: pattern });
  });
}

test('the registry is asked before the keychain gets the password; Docker Hub is docker.io', async () => {
  const steps: unknown[] = [];
  const input = new PassThrough();
  input.end('s3cret\n');
  await runLogin(
    { registry: 'https://index.docker.io/v1/', username: 'me', passwordStdin: true },
    dependencies({
      keyboard: input,
      checkLogin: async (registry, credential) => void steps.push(['check', registry, { ...credential }]),
      keychain: {
        check: async () => {},
        keep: async (...what) => void steps.push(['keep', ...what.slice(0, 3)]),
      },
    }),
  );
  assert.deepEqual(steps, [
    ['check', 'docker.io', { kind: 'basic', username: 'me', password: 's3cret' }],
    ['keep', 'docker.io', 'me', 's3cret'],
  ]);
});

test('an empty password, and one of a megabyte, are usage errors', async () => {
  for (const text of ['', '\n', 'x'.repeat(1e6)]) {
    const keyboard = new PassThrough();
    keyboard.end(text);
    const login = runLogin(
      { registry: 'quay.io', username: 'me', passwordStdin: true },
      dependencies({ keyboard }),
    );
    await assert.rejects(login, { code: 'usage' });
  }
});

test('an interrupted wait for stdin ends with the reason of the signal', async () => {
  const controller = new AbortController();
  const reason = new QuayctlError('interrupted', 'interrupted by SIGTERM');
  const login = runLogin(
    { registry: 'quay.io', username: 'me', passwordStdin: true },
    dependencies({ keyboard: new PassThrough(), signal: controller.signal }),
  );
  setTimeout(() => controller.abort(reason), 20);
  await assert.rejects(login, reason);
});

test('logout refuses what is no registry', async () => {
  const keychain = { remove: assert.fail };
  const logout = runLogout('a/b', {
    keychain,
    elsewhere: keychain,
    write: assert.fail,
    signal: new AbortController().signal,
  });
  await assert.rejects(logout, { code: 'usage' });
});

function dependencies(given: Partial<LoginDependencies>): LoginDependencies {
  return {
    keychain: { check: async () => {}, keep: assert.fail },
    elsewhere: { place: assert.fail, keep: assert.fail },
    checkLogin: assert.fail,
    keyboard: new PassThrough(),
    write: () => {},
    signal: new AbortController().signal,
    ...given,
  };
}

/** A node with a keychain, and a registry that knows `me`. */
async function open(scope: Scope): Promise<{ node: QuayctlNode; host: string }> {
  const auth = { kind: 'htpasswd', username: 'me', password: 's3cret' } as const;
  const [registry, { env }] = await Promise.all([startRegistry(scope, { auth }), startKeychain(scope)]);
  const bus = env['DBUS_SESSION_BUS_ADDRESS'] ?? '';
  return { node: await quayctlNode(scope, { env: { DBUS_SESSION_BUS_ADDRESS: bus } }), host: registry.host };
}

function type(
  node: QuayctlNode,
  args: readonly string[],
  steps: readonly (readonly [text: string, keys: string])[],
): Promise<Conversation> {
  return converse([process.execPath, QUAYCTL, ...args], steps, node.env);
}

/** What the list of noted registries holds; empty where there is none. */
async function listOf(node: QuayctlNode): Promise<string> {
  return readFile(join(node.env['XDG_CONFIG_HOME'] ?? '', 'quayctl/registries.json'), 'utf8').catch(() => '');
}
