import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { makeCertificate } from '../helpers/certificate.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { startServer } from '../helpers/http-server.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour } from '../helpers/neighbour.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { openStage, receiptOf } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const SIZES = { small: 10_000, large: 3_000_000 };

describe(
  'bytes that do not come from peers',
  { skip: skipWithout('docker-registry', 'openssl', 'htpasswd') },
  () => {
    const scope = suiteScope();
    const services: Record<string, string> = {};
    let registry: TestRegistry;
    let layout: TestLayout;
    let large = '';
    before(async () => {
      registry = await startRegistry(scope);
      layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
      for (const [name, size] of Object.entries(SIZES)) {
        const { manifest, layers } = await layout.addImage({ layers: [randomLayer(size, name)] });
        large = layers[0]?.digest ?? '';
        await pushImage(layout, manifest, { url: registry.url, repository: name, tag: '1' });
      }
      const website = await startServer(scope, (_, response) => response.writeHead(404).end('not here'));
      const tls = await startServer(scope, (_, response) => response.end(), await makeCertificate(scope));
      const [, port] = website.host.split(':');
      Object.assign(services, {
        misspelled: 'http://trackr.invalid:7070',
        down: 'http://127.0.0.1:9',
        'another server': website.url,
        'http where it is https': tls.url.replace('https:', 'http:'),
        'https where it is http': `https://127.0.0.1:${port}`,
        'of an unknown authority': tls.url,
        'simply a registry': registry.url,
      });
    });

    for (const variant of [
      'misspelled',
      'down',
      'another server',
      'http where it is https',
      'https where it is http',
      'of an unknown authority',
      'simply a registry',
    ])
      for (const size of ['small', 'large'] as const)
        test(`--torrent-service ${variant}, a ${size} image: one line says so, and the receipt`, async (t) => {
          const node = await quayctlNode(t);
          const service = ['--torrent-service', services[variant] ?? ''];
          const pulled = await node.run([
            'torrent',
            'pull',
            `${registry.host}/${size}:1`,
            '--json',
            ...service,
          ]);
          const receipt = receiptOf(pulled);
          const warnings = pulled.stderr.match(/^warning: no bytes come from peers: .+$/gm) ?? [];
          assert.equal(warnings.length, 1, pulled.stderr);
          assert.match(receipt.p2p.state, /^(?:unavailable|no-service)$/);
          assert.ok(warnings.join().includes(receipt.p2p.reason), pulled.stderr);
        });

    test('a registry without torrents, and no --torrent-service: one line says so', async (t) => {
      const node = await quayctlNode(t);
      const pulled = await node.run(['torrent', 'pull', `${registry.host}/large:1`, '--json']);
      assert.equal(receiptOf(pulled).p2p.state, 'no-service');
      assert.match(
        pulled.stderr,
        /^warning: no bytes come from peers: .*serves no torrents.*--torrent-service/m,
      );
      const again = await node.run(['torrent', 'pull', `${registry.host}/large:1`, '--json']);
      assert.equal(receiptOf(again).p2p.state, 'not-needed');
      assert.doesNotMatch(again.stderr, /^warning/m);
    });

    test('two images and one obstacle: one line', async (t) => {
      const node = await quayctlNode(t);
      const images = ['large', 'small'].map((name) => `${registry.host}/${name}:1`);
      const pulled = await node.run([
        'torrent',
        'pull',
        ...images,
        '--torrent-service',
        services['down'] ?? '',
      ]);
      assert.equal(pulled.code, 0, pulled.stderr);
      assert.equal(pulled.stderr.match(/^warning: /gm)?.length, 1, pulled.stderr);
    });

    test('a service that is in order: alone, small, used', async (t) => {
      const service = await startService(t, { upstream: registry.url });
      const pull = async (name: string): Promise<string> => {
        const node = await quayctlNode(t);
        const image = `${registry.host}/${name}:1`;
        const pulled = await node.run(['torrent', 'pull', image, '--json', '--torrent-service', service.url]);
        assert.doesNotMatch(pulled.stderr, /^warning/m);
        return receiptOf(pulled).p2p.state;
      };
      assert.equal(await pull('small'), 'small');
      await service.torrent('large', large, { ns: registry.host });
      assert.equal(await pull('large'), 'alone');
      const seed = await quayctlNode(t);
      const seeding = seed.start([
        'torrent',
        'seed',
        `${registry.host}/large:1`,
        '--torrent-service',
        service.url,
      ]);
      await seeding.waitFor(/^Seeding \d+ blobs?/m);
      assert.equal(await pull('large'), 'used');
    });

    test('a service that hashes, one of another registry, one that wants a password: each is said once', async (t) => {
      const slow = await startHttpFaultProxy(t, registry.url);
      slow.link.bytesPerSecond = 20_000;
      const hashing = await startService(t, {
        upstream: slow.url,
        aliases: [registry.host],
        // Nothing to follow: the registry gives the bytes.
        cacheBytes: 0,
      });
      const auth = { kind: 'htpasswd', username: 'ada', password: 's3cret' } as const;
      const closed = await startRegistry(t, { auth });
      const authorization = `Basic ${Buffer.from('ada:s3cret').toString('base64')}`;
      const { manifest } = await layout.addImage({ layers: [randomLayer(SIZES.large, 'closed')] });
      await pushImage(layout, manifest, { url: closed.url, repository: 'large', tag: '1', authorization });
      const asking = await startService(t, { upstream: closed.url });
      const node = await quayctlNode(t);
      const config = node.env['DOCKER_CONFIG'] ?? '';
      await mkdir(config);
      const auths = { [closed.host]: { auth: authorization.slice('Basic '.length) } };
      await writeFile(join(config, 'config.json'), JSON.stringify({ auths }));
      for (const [host, service, state] of [
        [registry.host, hashing.url, 'hashing'],
        [registry.host, asking.url, 'no-torrent'],
        [closed.host, asking.url, 'refused'],
      ] as const) {
        const store = ['--store', join(node.home, state)];
        const args = ['torrent', 'pull', `${host}/large:1`, '--json', '--torrent-service', service, ...store];
        const pulled = await node.run(args);
        const { p2p } = receiptOf(pulled);
        assert.equal(p2p.state, state, pulled.stderr);
        const warnings = pulled.stderr.match(/^warning: no bytes come from peers: .+$/gm) ?? [];
        assert.equal(warnings.length, 1, pulled.stderr);
      }
    });

    test(
      'a firewall before the peers: they are counted, and the ports to open are named',
      { skip: skipWithout('root', 'ip', 'iptables') },
      async (t) => {
        const stage = await openStage(t);
        const { manifest } = await stage.layout.addImage({ layers: [randomLayer(SIZES.large, 'walled')] });
        await stage.push(manifest, 'walled:1');
        const beyond = await openNeighbour(t);
        const drop = ['-A', 'INPUT', '-p', 'tcp', '--dport', '6881:6889', '-j', 'DROP'];
        assert.equal((await beyond.start(programPath('iptables'), drop).exited).code, 0);
        const service = ['--torrent-service', stage.service.url];
        const seed = await quayctlNode(t);
        const ports = ['--lower-port', '6881', '--upper-port', '6889'];
        const at = ['--announce-ip', beyond.addresses[0] ?? '', ...ports];
        const seeding = seed.start(['torrent', 'seed', stage.name('walled:1'), ...service, ...at]);
        await seeding.waitFor(/^Seeding \d+ blobs?/m);
        // It is gone without a word to the tracker: who asks is told of an address behind the firewall alone.
        await seeding.kill('SIGKILL');
        stage.pipe.link.bytesPerSecond = 1_500_000;
        const node = await quayctlNode(t);
        const pulled = await node.run([
          'torrent',
          'pull',
          stage.name('walled:1'),
          '--json',
          '--debug',
          ...service,
        ]);
        assert.equal(receiptOf(pulled).p2p.state, 'unreached');
        assert.match(pulled.stderr, /^warning: no bytes come from peers: 1 peer is known.*6881-6889\/tcp/m);
      },
    );
  },
);
