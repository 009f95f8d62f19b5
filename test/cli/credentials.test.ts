import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { startKeychain } from '../helpers/keychain.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';

const skip = skipWithout('docker-registry', 'htpasswd');
const skipKeychain = skip || skipWithout('dbus-daemon', 'dbus-send', 'gnome-keyring-daemon');
const PASSWORD = { kind: 'htpasswd', username: 'me', password: 's3cret' } as const;
const AUTH = Buffer.from('me:s3cret').toString('base64');
const HELPER = '#!/bin/sh\nexec echo \'{"Username":"me","Secret":"s3cret"}\'\n';
const RKT = (host: string): string =>
  `#!/bin/sh\nexec echo '{"stage0":[{"rktVersion":"v1","rktKind":"auth","domains":["${host}"],"type":"basic","credentials":{"user":"me","password":"s3cret"}}]}'\n`;

/** 3: the registry was shown no credential. 4: it let us in, and has no such image. */
const STRANGER = 3;
const KNOWN = 4;

/** What a user may have, and where: file contents by path below the home. */
const SOURCES: Readonly<Record<string, (host: string) => Readonly<Record<string, string>>>> = {
  nowhere: () => ({}),
  'docker config, auths': (host) => ({
    'docker/config.json': JSON.stringify({ auths: { [host]: { auth: AUTH } } }),
  }),
  'docker config, credHelpers': (host) => ({
    'docker/config.json': JSON.stringify({ credHelpers: { [host]: 'test' } }),
    'bin/docker-credential-test': HELPER,
  }),
  'docker config, credsStore': () => ({
    'docker/config.json': JSON.stringify({ credsStore: 'test' }),
    'bin/docker-credential-test': HELPER,
  }),
  'podman, namespace': (host) => ({
    'run/containers/auth.json': JSON.stringify({ auths: { [`${host}/team`]: { auth: AUTH } } }),
  }),
  'podman after a broken docker config': (host) => ({
    'docker/config.json': '{"s3cret',
    'config/containers/auth.json': JSON.stringify({ auths: { [host]: { auth: AUTH } } }),
  }),
  rkt: (host) => ({ 'bin/rkt': RKT(host) }),
};

test(
  'a pull finds the credential in every place of the contract, and tells it nowhere',
  { skip },
  async (t) => {
    const { host } = await startRegistry(t, { auth: PASSWORD });
    for (const [name, files] of Object.entries(SOURCES)) {
      const node = await quayctlNode(t);
      for (const [path, text] of Object.entries(files(host))) {
        await mkdir(join(node.home, dirname(path)), { recursive: true });
        await writeFile(join(node.home, path), text);
        await chmod(join(node.home, path), 0o755);
      }
      assert.equal(await pull(node, host), name === 'nowhere' ? STRANGER : KNOWN, name);
    }
  },
);

test('a pull uses what login kept, until logout', { skip: skipKeychain }, async (t) => {
  const { host } = await startRegistry(t, { auth: PASSWORD });
  const { env } = await startKeychain(t);
  const node = await quayctlNode(t, {
    env: { DBUS_SESSION_BUS_ADDRESS: env['DBUS_SESSION_BUS_ADDRESS'] ?? '' },
  });
  const login = await node.run(['login', host, '-u', 'me', '--password-stdin'], { input: 's3cret' });
  assert.equal(login.code, 0, login.stderr);
  assert.equal(await pull(node, host), KNOWN);
  await node.run(['logout', host]);
  assert.equal(await pull(node, host), STRANGER);
});

/** @returns the exit code of pulling an image that is not there */
async function pull(node: QuayctlNode, host: string): Promise<number | null> {
  const PATH = [join(node.home, 'bin'), node.env['PATH'] ?? ''].join(delimiter);
  const { code, stdout, stderr } = await node.run(['torrent', 'pull', `${host}/team/app:1.0`, '--debug'], {
    env: { PATH },
  });
  assert.doesNotMatch(stdout + stderr, /s3cret|czNjcmV0/);
  assert.ok(!(stdout + stderr).includes(AUTH));
  return code;
}
