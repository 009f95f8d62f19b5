import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startNameProxy } from '../helpers/name-proxy.ts';
import { oddImage, oddLayer } from '../helpers/odd-images.ts';
import { startOddRegistry, type OddRegistryOptions } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import type { Scope } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf } from '../helpers/stage.ts';
import { simple } from './case.ts';
import { defineCheck } from './define-tests.ts';

const BIG = 300_000;

async function pulls(scope: Scope, options: OddRegistryOptions): Promise<string> {
  const registry = await startOddRegistry(scope, options);
  const image = oddImage([oddLayer(oddTar([file('big', randomBytes(BIG))]))]);
  const node = await quayctlNode(scope);
  const reference = registry.put('team/app', '1', image);
  const output = await node.run(['torrent', 'pull', reference, '--json', '--no-progress']);
  assert.equal(receiptOf(output).digest, image.digest);
  return output.stderr;
}

const late = (ms: number) => async (): Promise<void> => {
  await sleep(ms);
};

/** These wait for real time, all at once: the limits are constants of whole seconds. */
describe('conformance: registries that fill themselves while they are asked', { concurrency: true }, () => {
  const toldOnce = async (scope: Scope, options: OddRegistryOptions, isTold: boolean): Promise<void> => {
    const told = (await pulls(scope, options)).match(/has not begun to answer for \d+ s/g) ?? [];
    assert.equal(told.length, isTold ? 1 : 0);
  };
  for (const [seconds, isTold] of [
    [15, false],
    [35, true],
  ] as const) {
    const wait = late(seconds * 1000);
    defineCheck(`C14: the manifest comes after ${seconds} s`, (scope) =>
      toldOnce(scope, { manifest: wait }, isTold),
    );
    defineCheck(`C14: blobs come after ${seconds} s`, (scope) => toldOnce(scope, { blob: wait }, isTold));
  }
  for (const seconds of [12, 25]) {
    defineCheck(`C14: ${seconds} s of silence in the middle of a blob`, (scope) =>
      pulls(scope, {
        blob: (_, reply) => {
          if (reply.body.length > BIG / 2) reply.stalls = [{ at: BIG / 2, ms: seconds * 1000 }];
        },
      }).then(() => undefined),
    );
  }
});

describe('conformance: proxies', { concurrency: 4 }, () => {
  const NAME = 'registry.example';
  const through =
    (variables: (proxy: URL) => Record<string, string>, direct = false) =>
    async (scope: Scope): Promise<void> => {
      const registry = await startOddRegistry(scope);
      const proxy = await startNameProxy(scope, { [`${NAME}:80`]: registry.host });
      registry.put('team/app', '1', simple());
      const node = await quayctlNode(scope, { env: variables(new URL(proxy.url)) });
      const output = await node.run(['torrent', 'pull', `${NAME}/team/app:1`, '--insecure', '--json']);
      if (direct) assert.equal(output.code, 1, 'the name leads nowhere without the proxy');
      else receiptOf(output);
      assert.equal(
        proxy.requests.some((line) => line.includes('/v2/')),
        !direct,
      );
    };
  defineCheck(
    'C18: HTTP_PROXY',
    through((proxy) => ({ HTTP_PROXY: proxy.href })),
  );
  defineCheck(
    'C18: http_proxy without a scheme',
    through((proxy) => ({ http_proxy: proxy.host })),
  );
  defineCheck(
    'C18: HTTP_PROXY with a user and an encoded password',
    through((proxy) => ({ HTTP_PROXY: `http://user:p%40ss@${proxy.host}` })),
  );
  defineCheck(
    'C18: NO_PROXY of another host',
    through((proxy) => ({ HTTP_PROXY: proxy.href, NO_PROXY: '.other.example' })),
  );
  for (const none of [
    '*',
    'registry.example',
    'REGISTRY.example',
    '.example',
    'example',
    'a.b, registry.example:80',
  ]) {
    defineCheck(
      `C18: NO_PROXY=${none}`,
      through((proxy) => ({ HTTP_PROXY: proxy.href, NO_PROXY: none }), true),
    );
  }
});
