import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';
import { examineMirror } from '../../src/doctor/mirror-settings.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { startServer } from '../helpers/http-server.ts';
import { tempDirectory } from '../helpers/temp.ts';

test('engines that are told to ask a mirror here are named, and whether it answers', async (t) => {
  const mirror = await startServer(t, (_, response) => response.end('{}'));
  const root = await tempDirectory(t, 'engines');
  const files = { certsDirectories: [join(root, 'certs.d')], registriesDirectories: [join(root, 'conf.d')] };
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  };
  const look = async (registry?: string): Promise<string[]> => {
    const found: Omit<Finding, 'hint'>[] = [];
    await examineMirror(
      files,
      registry,
      (check, status, message) => found.push({ check, status, message }),
      t.signal,
    );
    return found.map(({ status, message }) => `${status} ${message.replaceAll(`${root}/`, '')}`);
  };

  assert.deepEqual(await look(), ['ok no engine is told to ask a mirror on this machine']);
  await write('certs.d/a.example/hosts.toml', `[host."${mirror.url}"]\n  capabilities = ["pull"]\n`);
  await write(
    'certs.d/b.example/hosts.toml',
    '# [host."http://127.0.0.1:1"]\n[host."http://10.0.0.1:7071"]\n',
  );
  await write('certs.d/c.example/ca.crt', 'x');
  await write(
    'conf.d/9-mirror.conf',
    '[[registry]]\nprefix = "b.example"\n[[registry.mirror]]\nlocation = "127.0.0.1:9/b.example"\n',
  );
  await write('conf.d/notes.txt', 'location = "127.0.0.1:7/x"');
  const a = `ok certs.d/a.example/hosts.toml sends its engine to ${mirror.url}, which answers`;
  const b = 'warning conf.d/9-mirror.conf sends its engine to http://127.0.0.1:9, and nobody answers there';
  assert.deepEqual(await look(), [a, b]);
  assert.deepEqual(await look('a.example'), [a]);
  assert.deepEqual(await look('b.example'), [b]);

  const { certificatePem: cert, keyPem: key } = await makeCertificate(t);
  const tls = createServer({ cert, key }, (_, response) => response.end('{}'));
  tls.listen(0, '127.0.0.1');
  t.after(() => tls.close());
  await once(tls, 'listening');
  const { port } = tls.address() as AddressInfo;
  await write('certs.d/d.example/hosts.toml', `[host."https://127.0.0.1:${port}"]\n`);
  await write('conf.d/99.conf', `prefix = "d.example"\nlocation = "127.0.0.1:${port}/d.example"\n`);
  const [hosts, conf] = await look('d.example');
  assert.match(hosts ?? '', /^ok certs\.d\/d\.example.* which answers$/, 'a certificate of its own');
  assert.match(conf ?? '', /^ok conf\.d\/99\.conf.* which answers$/, 'podman names no scheme');
});
