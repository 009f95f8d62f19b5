import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback, isLoopbackAddress, plainAddress } from '../../src/base/ip-address.ts';

test('one spelling of an address', () => {
  const spellings = {
    '::ffff:192.0.2.1': '192.0.2.1',
    '::FFFF:c000:201': '192.0.2.1',
    '0:0:0:0:0:ffff:7f00:1': '127.0.0.1',
    'fe80::1%eth0': 'fe80::1',
    '2001:DB8::1': '2001:db8::1',
    '::ffff:1': '::ffff:1',
    '192.0.2.1': '192.0.2.1',
    'no address': 'no address',
  };
  for (const [address, plain] of Object.entries(spellings)) assert.equal(plainAddress(address), plain);
});

test('loopback by its spelling', () => {
  for (const host of [
    'localhost',
    'LOCALHOST.',
    '127.9.9.9',
    '[::1]',
    '::1',
    '[::ffff:127.0.0.1]',
    '::ffff:7f00:1',
  ])
    assert.ok(isLoopback(host), host);
  for (const host of ['localhost.example', '128.0.0.1', '[::2]', '127.0.0.1.example', '', 'x:y'])
    assert.ok(!isLoopback(host), host);
  assert.ok(!isLoopbackAddress('localhost'));
});
