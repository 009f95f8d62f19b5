import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { test } from 'node:test';
import { makeCertificate } from '../helpers/certificate.ts';
import { TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';

/** The subject of the certificate that a server shows now. */
async function shownName(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

for (const signal of [true, false])
  test(
    `a new certificate is taken up ${signal ? 'at SIGHUP' : 'without a signal, too'}; a broken one is said and the old one stays`,
    { skip: skipWithout('openssl') },
    async (t) => {
      const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
      const [first, second] = [
        await makeCertificate(t, ['DNS:first.test']),
        await makeCertificate(t, ['DNS:second.test']),
      ];
      const directory = await tempDirectory(t, 'tls');
      const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')];
      const use = async (certificate: string, keyFile: string): Promise<void> => {
        await copyFile(keyFile, key);
        await copyFile(certificate, cert);
      };
      await use(first.certificate, first.key);
      const node = await quayctlNode(t);
      const serve = node.start([
        'serve',
        '--upstream',
        `oci:${layout.directory}`,
        '--listen',
        '127.0.0.1:0',
        '--admin-listen',
        'none',
        '--tls-cert',
        cert,
        '--tls-key',
        key,
      ]);
      const [url] = await serve.waitFor(/^https:\S+$/m);
      assert.match(await shownName(url), /first/);
      await use(second.certificate, second.key);
      if (signal) process.kill(serve.pid, 'SIGHUP');
      await serve.waitFor(/event=reloaded/);
      assert.match(await shownName(url), /second/);
      await use(first.certificate, second.key);
      if (signal) process.kill(serve.pid, 'SIGHUP');
      await serve.waitFor(/event=warning .*not reloaded/);
      assert.match(await shownName(url), /second/);
    },
  );
