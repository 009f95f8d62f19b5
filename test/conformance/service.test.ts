import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'node:test';
import { gzipSync } from 'node:zlib';
import { digestOf, OCI, oddImage, oddLayer } from '../helpers/odd-images.ts';
import { OddReply, refusal, startOddRegistry, type OddRegistryOptions } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import type { Scope } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';
import { simple } from './case.ts';
import { defineCheck } from './define-tests.ts';

const BIG = 3 << 20;

/** `quayctl serve` in front of an odd registry; the pull must get its layer by a torrent. */
async function pullsByTorrent(
  scope: Scope,
  options: OddRegistryOptions,
  [repository, tag]: readonly [string, string] = ['team/app', '1'],
): Promise<void> {
  const registry = await startOddRegistry(scope, options);
  const layer = oddLayer(oddTar([file('big', randomBytes(BIG))]), { compression: 'none' });
  const image = oddImage([layer]);
  const reference = registry.put(repository, tag, image);
  const service = await startService(scope, { upstream: registry.url });
  const token = `tok${randomBytes(4).toString('hex')}`;
  registry.tokens.add(token);
  const answer = await service.torrent(repository, digestOf(layer.blob), {
    authorization: `Bearer ${token}`,
    ns: registry.host,
  });
  assert.equal(answer.status, 200, await answer.text());
  const node = await quayctlNode(scope);
  const flags = ['--torrent-service', service.url, '--json', '--no-progress'];
  const pulled = await node.run(['torrent', 'pull', reference, ...flags]);
  assert.equal(receiptOf(pulled).digest, image.digest);
}

const onHead =
  (answer: () => OddReply): NonNullable<OddRegistryOptions['blob']> =>
  ({ method }) =>
    method === 'HEAD' ? answer() : undefined;

describe('conformance: torrents in front of odd registries', { concurrency: 4 }, () => {
  defineCheck('C20: HEAD of blobs as it should be', (scope) => pullsByTorrent(scope, {}));
  for (const status of [401, 403, 404, 405, 501, 200]) {
    const answer = (): OddReply =>
      status === 200
        ? new OddReply(200, { 'Content-Length': '0' })
        : refusal(status, 'NO').set('WWW-Authenticate', status === 401 ? 'Bearer realm="x"' : undefined);
    const what = status === 200 ? '200 with a length of 0' : status;
    defineCheck(`C20: HEAD of blobs ${what}`, (scope) =>
      pullsByTorrent(scope, { auth: 'bearer', anonymousTokens: true, blob: onHead(answer) }),
    );
  }
  for (const [repository, tag] of [
    ['team/app', 'T'.repeat(128)],
    ['a.b/c__d/e--f', '1'],
    ['a/b/c/d/e/f', '1'],
    ['team/manifests/app', '1'],
    ['team/blobs/app', '1'],
    ['team/tags/list/app', '1'],
  ] as const) {
    const what = `${repository}:${tag.slice(0, 5)}`;
    defineCheck(`C19: ${what}, with a torrent`, (scope) => pullsByTorrent(scope, {}, [repository, tag]));
  }
  defineCheck('C19: IPv6, with a torrent', (scope) => pullsByTorrent(scope, { address: '::1' }));
  defineCheck('C21: storage ignores Range, with a torrent', (scope) =>
    pullsByTorrent(scope, { ranges: false }),
  );
  defineCheck('C21: a 206 that is wider than what was asked for', (scope) =>
    pullsByTorrent(scope, {
      blob: ({ reference }, reply, { blobs }) => {
        const whole = blobs.get(reference);
        if (reply.status !== 206 || whole === undefined) return;
        reply.body = whole;
        reply.set('Content-Range', `bytes 0-${whole.length - 1}/${whole.length}`);
      },
    }),
  );
  defineCheck('C21: a total of *, with a torrent', (scope) =>
    pullsByTorrent(scope, {
      blob: (_, reply) => void reply.set('Content-Range', reply.get('Content-Range')?.replace(/\d+$/, '*')),
    }),
  );
  defineCheck('C21: 501 to a range, with a torrent', (scope) =>
    pullsByTorrent(scope, {
      blob: ({ headers }) => (headers.range === undefined ? undefined : refusal(501, 'NotImplemented')),
    }),
  );
  defineCheck('C22: 416 to every range, with a torrent', (scope) =>
    pullsByTorrent(scope, {
      blob: ({ headers }) =>
        headers.range === undefined ? undefined : new OddReply(416, { 'Content-Range': 'bytes */0' }),
    }),
  );
  defineCheck('C22: a broken transfer, then 416 to every range', async (scope) => {
    let broken = false;
    const registry = await startOddRegistry(scope, {
      blob: ({ headers }, reply) => {
        if (headers.range !== undefined) return new OddReply(416, { 'Content-Range': 'bytes */0' });
        if (broken || reply.body.length < BIG) return;
        broken = true;
        reply.cut = BIG >> 1;
      },
    });
    const image = oddImage([oddLayer(oddTar([file('big', randomBytes(BIG))]), { compression: 'none' })]);
    const reference = registry.put('team/app', '1', image);
    const node = await quayctlNode(scope);
    const pulled = await node.run(['torrent', 'pull', reference, '--json', '--no-progress']);
    assert.equal(receiptOf(pulled).digest, image.digest);
  });
});

describe('conformance: squashed images of odd registries', () => {
  defineCheck('A15: manifest, config and layers in gzip though nobody asked', async (scope) => {
    const zipped = (_: unknown, reply: OddReply): void => {
      reply.body = gzipSync(reply.body);
      reply.set('Content-Encoding', 'gzip');
    };
    const registry = await startOddRegistry(scope, { manifest: zipped, blob: zipped });
    registry.put('team/app', '1', simple());
    const service = await startService(scope, { upstream: registry.url });
    const answer = await fetch(`${service.url}/c1/squash/team/app/1`);
    assert.equal(answer.status, 200, await answer.text());
  });
});

/** An OCI image layout as `docker save` or `nerdctl save` of two images writes it: both are named `latest` in it. */
async function savedLayout(scope: Scope): Promise<string> {
  const directory = await tempDirectory(scope, 'saved');
  await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
  const manifests = [];
  for (const name of ['docker.io/library/ubuntu:latest', 'docker.io/library/alpine:latest']) {
    const image = simple();
    for (const bytes of [image.manifest, ...image.blobs.values()])
      await writeFile(join(directory, 'blobs/sha256', digestOf(bytes).slice(7)), bytes);
    manifests.push({
      mediaType: OCI.manifest,
      digest: image.digest,
      size: image.manifest.length,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': 'latest' },
    });
  }
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  return directory;
}

describe('conformance: layouts that are served', () => {
  defineCheck('D18: two images of one bare name, told apart by io.containerd.image.name', async (scope) => {
    const service = await startService(scope, { upstream: `oci:${await savedLayout(scope)}` });
    for (const name of ['library/ubuntu', 'library/alpine']) {
      const answer = await fetch(`${service.url}/v2/${name}/manifests/latest`);
      assert.equal(answer.status, 200, name);
    }
  });
});
