import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { clientAddresses } from '../../src/http-server/client-address.ts';
import { ClientLimiter } from '../../src/http-server/client-limiter.ts';

test('only trusted proxies are believed about who asks, read from the right', () => {
  const { clientOf } = clientAddresses(['10.0.0.0/8', '2001:db8::/32', '192.0.2.9']);
  for (const [remote, forwarded, wanted] of [
    ['198.51.100.1', undefined, '198.51.100.1'],
    ['198.51.100.1', '203.0.113.7', '198.51.100.1'],
    ['10.1.1.1', undefined, '10.1.1.1'],
    ['10.1.1.1', '203.0.113.7', '203.0.113.7'],
    ['::ffff:10.1.1.1', '203.0.113.7', '203.0.113.7'],
    ['10.1.1.1', '127.0.0.1, 203.0.113.7', '203.0.113.7'],
    ['10.1.1.1', '127.0.0.1, 203.0.113.7, 10.2.2.2, 192.0.2.9', '203.0.113.7'],
    ['10.1.1.1', '203.0.113.7:4711', '203.0.113.7'],
    ['2001:db8::1', '[2001:DB9::5]:4711', '2001:db9::5'],
    ['10.1.1.1', 'unknown', '10.1.1.1'],
    ['10.1.1.1', '203.0.113.7, _hidden', '10.1.1.1'],
    ['10.1.1.1', '', '10.1.1.1'],
    ['10.1.1.1', '10.3.3.3', '10.3.3.3'],
    ['10.1.1.1', '10.3.3.3,'.repeat(1000), '10.1.1.1'],
  ] as const) {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    const request = { socket: { remoteAddress: remote }, headers } as unknown as IncomingMessage;
    assert.equal(clientOf(request), wanted, `${remote} for ${forwarded?.slice(0, 80) ?? 'nobody'}`);
  }
});

test('ranges that are none are usage errors', () => {
  for (const range of [
    '',
    'proxy.example',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    '::/129',
    '10.0.0.0/-1',
    '10.0.0.0/x',
  ]) {
    assert.throws(() => clientAddresses([range]), { code: 'usage', message: /--trusted-proxy/ }, range);
  }
});

test('a client may ask in bursts, and in the long run so often; others are not touched', () => {
  const limiter = new ClientLimiter({ perSecond: 2, burst: 5 });
  const admitted = (client: string, now: number): number => {
    let count = 0;
    for (let asked = 0; asked < 100; asked++) if (limiter.admit(client, now)) count++;
    return count;
  };
  assert.equal(admitted('a', 0), 5);
  assert.equal(admitted('a', 1000), 2);
  assert.equal(admitted('b', 1000), 5);
  assert.equal(admitted('a', 100_000), 5);
});
