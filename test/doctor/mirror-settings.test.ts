import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';
import { examineMirror } from '../../src/doctor/mirror-settings.ts';
import { Http } from '../../src/http/http.ts';
import { startServer } from '../helpers/http-server.ts';
import { tempDirectory } from '../helpers/temp.ts';

test('engines that are told to ask a mirror here are named, and whether it answers', async (t) => {
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  t.after(() => http.close());
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
      http,
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
});
