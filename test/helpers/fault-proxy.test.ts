import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { startHttpFaultProxy, startTcpFaultProxy } from './fault-proxy.ts';

const BODY = Buffer.alloc(200_000, 'a');

async function origin(t: TestContext): Promise<number> {
  const server = createServer((_, response) => response.end(BODY));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const get = async (url: string, ms = 5000): Promise<Buffer> =>
  Buffer.from(await (await fetch(url, { signal: AbortSignal.timeout(ms) })).arrayBuffer());

test('without faults the HTTP proxy changes nothing and counts the bytes', async (t) => {
  const proxy = await startHttpFaultProxy(t, `http://127.0.0.1:${await origin(t)}`);
  assert.deepEqual(await get(proxy.url), BODY);
  assert.equal(proxy.traffic.toClient, BODY.length);
  assert.deepEqual(proxy.requests, ['GET / 200']);
});

test('each HTTP fault is done, as often as asked for, and can be healed', async (t) => {
  const proxy = await startHttpFaultProxy(t, `http://127.0.0.1:${await origin(t)}`);

  proxy.faults.push({ corruptAt: 70_000 });
  const corrupt = await get(proxy.url);
  assert.equal(corrupt.length, BODY.length);
  assert.deepEqual(
    [...corrupt.entries()].filter(([, byte]) => byte !== 97),
    [[70_000, 97 ^ 0xff]],
  );

  proxy.faults.splice(0, 1, { cutAfter: 100 });
  await assert.rejects(get(proxy.url));
  proxy.faults.splice(0, 1, { stallAfter: 100 });
  await assert.rejects(get(proxy.url, 200), { name: 'TimeoutError' });
  proxy.faults.splice(0, 1, { silent: true });
  await assert.rejects(get(proxy.url, 200), { name: 'TimeoutError' });
  proxy.faults.splice(0, 1, { refuse: true });
  await assert.rejects(get(proxy.url), TypeError);

  proxy.faults.splice(0, 1, { status: 503, headers: { 'retry-after': '1' }, times: 1, match: /^GET \/x/ });
  assert.deepEqual(await get(proxy.url), BODY);
  const refused = await fetch(`${proxy.url}/x`);
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1']);
  assert.deepEqual(await get(`${proxy.url}/x`), BODY);
});

test('the link limits all connections together', async (t) => {
  const proxy = await startHttpFaultProxy(t, `http://127.0.0.1:${await origin(t)}`);
  proxy.link.bytesPerSecond = 1_000_000;
  const begun = performance.now();
  await Promise.all([get(proxy.url), get(proxy.url)]);
  const seconds = (performance.now() - begun) / 1000;
  assert.ok(seconds > 0.35 && seconds < 2, `400 kB at 1 MB/s took ${seconds} s`);
});

test('a proxy that is down refuses, and comes up on its port again', async (t) => {
  const proxy = await startHttpFaultProxy(t, `http://127.0.0.1:${await origin(t)}`);
  await proxy.down();
  await assert.rejects(get(proxy.url), TypeError);
  await proxy.up();
  assert.deepEqual(await get(proxy.url), BODY);
});

test('the TCP proxy carries, cuts and stalls', async (t) => {
  const proxy = await startTcpFaultProxy(t, { port: await origin(t) });
  const url = `http://${proxy.host}`;
  assert.deepEqual(await get(url), BODY);
  assert.ok(proxy.traffic.toClient > BODY.length && proxy.traffic.toServer > 0);
  proxy.cutAll();

  proxy.faults = { cutAfter: 1000 };
  await assert.rejects(get(url));
  proxy.faults = { stallAfter: 1000 };
  await assert.rejects(get(url, 200), { name: 'TimeoutError' });
  proxy.faults = { silent: true };
  await assert.rejects(get(url, 200), { name: 'TimeoutError' });
});
