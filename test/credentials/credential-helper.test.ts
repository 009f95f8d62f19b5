import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Credential } from '../../src/credentials/credential.ts';
import { askHelper } from '../../src/credentials/credential-helper.ts';
import { tempDirectory } from '../helpers/temp.ts';
import type { Scope } from '../helpers/processes.ts';
import { failsWith, helperEnv, signal, writeText } from './places.ts';

const ask = (registry: string): Promise<Credential | undefined> =>
  askHelper('fixture', registry, helperEnv, signal);

test('Docker Hub is asked for by the name that Docker uses', async () => {
  assert.deepEqual(await ask('docker.io'), { kind: 'basic', username: 'hub-user', password: 'hub-secret' });
});

test('a port is part of the registry', async () => {
  const credential = await ask('quay.example:5000');
  assert.deepEqual(credential, {
    kind: 'basic',
    username: 'helper-user',
    password: 's3cret of quay.example:5000',
  });
});

test('the username <token> marks an identity token', async () => {
  assert.deepEqual(await ask('token.example'), { kind: 'identity-token', token: 'identity-s3cret' });
});

test('"credentials not found" and an empty answer mean none', async () => {
  assert.equal(await ask('unknown.example'), undefined);
  assert.equal(await ask('nobody.example'), undefined);
});

const FAILURES: Readonly<Record<string, RegExp>> = {
  'failing.example': /^docker-credential-fixture fails for failing.example: vault is sealed/,
  'spilling.example': /fails for spilling.example \(exit code 1\)$/,
  'garbage.example': /answers something else than a credential for garbage.example$/,
  'wrong-types.example': /answers something else/,
  'huge.example': /sends more than 262144 bytes$/,
  'chatty.example': /^.{20,300}$/,
};

for (const [registry, pattern] of Object.entries(FAILURES)) {
  test(`a helper that fails like ${registry} is an error that tells no secret`, async () => {
    await assert.rejects(ask(registry), failsWith('credentials', pattern));
  });
}

test('a helper that hangs is given up after its time, its pipes held open or not', async (t) => {
  const env = { ...helperEnv, FIXTURE_PID: await pidFile(t) };
  const begun = performance.now();
  const answer = askHelper('fixture', 'hanging.example', env, signal, 300);
  await assert.rejects(answer, failsWith('credentials', /docker-credential-fixture gave no answer in 0.3 s/));
  assert.ok(performance.now() - begun < 3000);
});

test('a helper that leaves a daemon with its pipes has answered all the same', async (t) => {
  const env = { ...helperEnv, FIXTURE_PID: await pidFile(t) };
  const answer = await askHelper('fixture', 'daemon.example', env, signal);
  assert.equal(answer?.kind, 'basic');
});

test('an interrupted question ends with the reason of the signal', async (t) => {
  const env = { ...helperEnv, FIXTURE_PID: await pidFile(t) };
  const controller = new AbortController();
  const answer = askHelper('fixture', 'hanging.example', env, controller.signal);
  setTimeout(() => controller.abort(new Error('Ctrl-C')), 100);
  await assert.rejects(answer, /^Error: Ctrl-C$/);
});

test('only names are helpers, found in PATH only', async (t) => {
  for (const name of ['../fixture', 'a/b', '', '-x', '/bin/sh', 'a b', 'x'.repeat(100)]) {
    const answer = askHelper(name, 'quay.example', helperEnv, signal);
    await assert.rejects(answer, failsWith('credentials', /not the name of a credential helper/), name);
  }
  const folder = await tempDirectory(t);
  await chmod(await writeText(join(folder, 'docker-credential-here'), '#!/bin/sh\nexit 1\n'), 0o755);
  const before = process.cwd();
  process.chdir(folder);
  t.after(() => process.chdir(before));
  for (const PATH of ['.', '', ':', undefined]) {
    const answer = askHelper('here', 'quay.example', { PATH }, signal);
    await assert.rejects(answer, failsWith('credentials', /docker-credential-here is not in PATH/));
  }
});

/** Where the fixture writes the pid of what it leaves behind; that is ended with the test. */
async function pidFile(scope: Scope): Promise<string> {
  const path = join(await tempDirectory(scope), 'pid');
  scope.after(async () => {
    if (existsSync(path)) process.kill(Number(await readFile(path, 'utf8')), 'SIGKILL');
  });
  return path;
}
