import assert from 'node:assert/strict';
import { chmod, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Keychain, type KeychainOptions } from '../../src/credentials/keychain.ts';
import { startKeychain } from '../helpers/keychain.ts';
import { run, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { credentialStoreSuite, HELD } from './credential-store.suite.ts';
import { failsWith, signal, writeJson, writeText } from './places.ts';

const skip = skipWithout('dbus-daemon', 'dbus-send', 'gnome-keyring-daemon') || skipWithoutKeytar();
const ANSWERLESS = /^the keychain gave no answer in [\d.]+ s$/;

credentialStoreSuite(
  'keychain',
  async (scope) => {
    const { env } = await startKeychain(scope);
    const keychain = await open(scope, { env });
    await keychain.keep(HELD.registry, HELD.username, HELD.password, signal);
    return keychain;
  },
  skip,
);

test('a credential is kept, replaced, found in a later run, and removed once', { skip }, async (t) => {
  const { env } = await startKeychain(t);
  const listPath = join(await tempDirectory(t), 'config/quayctl/registries.json');
  const run1 = await open(t, { env, listPath });
  await run1.check(signal);
  await run1.keep('docker.io', 'me', 'old', signal);
  await run1.keep('docker.io', 'me', 's3cret "\\ 🔑\n', signal);
  await run1.keep('quay.io', 'you', 's3cret', signal);

  const run2 = await open(t, { env, listPath });
  assert.deepEqual(await run2.find('docker.io', 'library/ubuntu', signal), {
    kind: 'basic',
    username: 'me',
    password: 's3cret "\\ 🔑\n',
  });
  assert.equal(await run2.remove('docker.io', signal), true);
  assert.equal(await run2.remove('docker.io', signal), false);
  assert.equal(await run2.find('docker.io', undefined, signal), undefined);
  assert.equal((await run2.find('quay.io', undefined, signal))?.kind, 'basic');
});

test('the list of registries is for its owner only and holds no secret', { skip }, async (t) => {
  const { env } = await startKeychain(t);
  const listPath = join(await tempDirectory(t), 'config/quayctl/registries.json');
  await (await open(t, { env, listPath })).keep('quay.io', 'me', 's3cret', signal);
  assert.deepEqual(JSON.parse(await readFile(listPath, 'utf8')), { registries: ['quay.io'] });
  assert.equal((await stat(listPath)).mode & 0o777, 0o600);
  assert.equal((await stat(join(listPath, '..'))).mode & 0o777, 0o700);
});

test('no secret is in the arguments of a process, nor is NODE_OPTIONS obeyed', { skip }, async (t) => {
  const { env } = await startKeychain(t);
  const folder = await tempDirectory(t);
  const wrapper = join(folder, 'node');
  await writeText(
    wrapper,
    `#!/bin/sh\necho "$@" "[$NODE_OPTIONS]" >>${folder}/seen\nexec '${process.execPath}' "$@"\n`,
  );
  await chmod(wrapper, 0o755);
  const nodeOptions = { NODE_OPTIONS: '--require=/nowhere/spy.js' };
  const keychain = await open(t, { env: { ...env, ...nodeOptions }, nodePath: wrapper });
  await keychain.keep('quay.io', 'me', 's3cret', signal);
  assert.equal((await keychain.find('quay.io', undefined, signal))?.kind, 'basic');
  const seen = await readFile(join(folder, 'seen'), 'utf8');
  assert.match(seen, /keytar[^]*\[\]/);
  assert.doesNotMatch(seen, /s3cret|spy/);
});

test('an entry that someone else removed from the keychain is none', { skip }, async (t) => {
  const { env } = await startKeychain(t);
  const keychain = await open(t, { env, listPath: await listOf(t, 'quay.io') });
  assert.equal(await keychain.find('quay.io', undefined, signal), undefined);
  assert.equal(await keychain.remove('quay.io', signal), false);
});

test('a registry that login never noted is never asked for', async (t) => {
  const keychain = await open(t, { nodePath: '/nowhere/node', listPath: await listOf(t, 'docker.io') });
  assert.equal(await keychain.find('quay.io', undefined, signal), undefined);
  assert.equal(await keychain.remove('quay.io', signal), false);
});

test('no keychain on this machine: login is told what else to do', async (t) => {
  const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${await tempDirectory(t)}/no-bus` };
  const keychain = await open(t, { env, listPath: await listOf(t, 'quay.io') });
  for (const ask of [
    () => keychain.check(signal),
    () => keychain.keep('quay.io', 'me', 's3cret', signal),
    () => keychain.find('quay.io', undefined, signal),
    () => keychain.remove('quay.io', signal),
  ]) {
    const attempt = ask();
    await assert.rejects(attempt, failsWith('credentials', /^the keychain (refuses|needs keytar)/));
    await assert.rejects(attempt, { hint: /docker login.*credHelpers/ });
  }
});

test('one file without a Node beside it: login is told what else to do', async (t) => {
  const keychain = await open(t, { nodePath: undefined });
  const attempt = keychain.keep('quay.io', 'ada', 'secret', t.signal);
  await assert.rejects(attempt, failsWith('credentials', /^this quayctl is one file.* npm package/));
});

test('without keytar: login is told what else to do', async (t) => {
  const keytarBeside = pathToFileURL(join(await tempDirectory(t), 'module.js')).href;
  const keychain = await open(t, { keytarBeside });
  const attempt = keychain.check(signal);
  await assert.rejects(attempt, failsWith('credentials', /needs keytar, .*Cannot find module 'keytar'$/));
  await assert.rejects(attempt, { hint: /docker login.*credHelpers/ });
});

test('a message bus that never answers is given up, and holds no process', { skip }, async (t) => {
  const address = await silentBus(t);
  const listPath = await listOf(t, 'quay.io');
  const keychain = await open(t, { env: { DBUS_SESSION_BUS_ADDRESS: address }, listPath, findLimitMs: 500 });
  await assert.rejects(keychain.find('quay.io', undefined, signal), failsWith('credentials', ANSWERLESS));

  const program = `
    import { Keychain } from ${JSON.stringify(import.meta.resolve('../../src/credentials/keychain.ts'))};
    const keychain = new Keychain(JSON.parse(process.argv[1]));
    await keychain.find('quay.io', undefined, new AbortController().signal).catch((error) => console.log(error.message));
  `;
  const options = { listPath, nodePath: process.execPath, env: { DBUS_SESSION_BUS_ADDRESS: address } };
  const begun = performance.now();
  const { code, stdout } = await run(process.execPath, [
    '--input-type=module',
    '-e',
    program,
    JSON.stringify(options),
  ]);
  assert.equal(code, 0);
  assert.match(stdout.trim(), ANSWERLESS);
  assert.ok(performance.now() - begun < 5000, 'two seconds, and the start of Node');
});

test('an interrupted wait for the keychain ends with the reason of the signal', { skip }, async (t) => {
  const env = { DBUS_SESSION_BUS_ADDRESS: await silentBus(t) };
  const controller = new AbortController();
  const reason = new Error('Ctrl-C');
  const attempt = (await open(t, { env })).check(controller.signal);
  setTimeout(() => controller.abort(reason), 200);
  await assert.rejects(attempt, reason);
});

for (const [name, text] of [
  ['no JSON', '{"registries": ['],
  ['another form', '{"registries": {"quay.io": 1}}'],
  ['numbers', '{"registries": [1]}'],
] as const) {
  test(`a list of registries that is ${name} is an error that names it`, async (t) => {
    const listPath = await writeText(join(await tempDirectory(t), 'registries.json'), text);
    const search = (await open(t, { listPath })).find('quay.io', undefined, signal);
    await assert.rejects(
      search,
      failsWith('credentials', /registries.json is not (valid JSON|a list of registries)$/),
    );
  });
}

async function open(scope: Scope, options: Partial<KeychainOptions> = {}): Promise<Keychain> {
  const listPath = join(await tempDirectory(scope), 'quayctl/registries.json');
  return new Keychain({ listPath, nodePath: process.execPath, env: {}, ...options });
}

async function listOf(scope: Scope, ...registries: readonly string[]): Promise<string> {
  return writeJson(join(await tempDirectory(scope), 'registries.json'), { registries });
}

/** Takes connections and says nothing, as a bus whose daemon hangs. */
async function silentBus(scope: Scope): Promise<string> {
  const path = join(await tempDirectory(scope), 'bus');
  const server = createServer(() => {});
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  scope.after(() => void server.close());
  return `unix:path=${path}`;
}

function skipWithoutKeytar(): string | false {
  try {
    createRequire(import.meta.url)('keytar');
    return false;
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    return 'needs keytar, which npm could not install (libsecret-1-dev, g++, make, python3)';
  }
}
