import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import {
  decodeBencode,
  decodeLooseBencode,
  encodeBencode,
  isDictionary,
  type BInput,
  type BValue,
} from '../../src/metainfo/bencode.ts';

/** Decoded values as plain ones, byte strings as latin-1. */
function plain(value: BValue): unknown {
  if (typeof value === 'number') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (isDictionary(value))
    return Object.fromEntries([...value.entries].map(([key, item]) => [key, plain(item)]));
  return value.map(plain);
}

function decode(text: string): unknown {
  return plain(decodeBencode(Buffer.from(text, 'latin1')));
}

describe('BEP 3, both ways', () => {
  const table: [string, BInput][] = [
    ['i0e', 0],
    ['i3e', 3],
    ['i-3e', -3],
    ['i9007199254740991e', 9007199254740991],
    ['i-9007199254740991e', -9007199254740991],
    ['0:', ''],
    ['4:spam', 'spam'],
    ['le', []],
    ['l4:spam4:eggse', ['spam', 'eggs']],
    ['de', {}],
    ['d3:cow3:moo4:spam4:eggse', { spam: 'eggs', cow: 'moo' }],
    ['d4:spaml1:a1:bee', { spam: ['a', 'b'] }],
    ['d2:aai1e2:abi2e2:b i3ee', { ab: 2, aa: 1, 'b ': 3 }],
  ];
  for (const [text, value] of table) {
    test(text, () => {
      assert.deepEqual(decode(text), value);
      assert.equal(Buffer.from(encodeBencode(value)).toString('latin1'), text);
    });
  }

  test('texts go as UTF-8, raw values as they are', () => {
    assert.equal(Buffer.from(encodeBencode('ü')).toString(), '2:ü');
    assert.equal(
      Buffer.from(encodeBencode({ a: { raw: Buffer.from('d1:bi1ee') } })).toString(),
      'd1:ad1:bi1eee',
    );
  });

  test('a dictionary knows where it stood', () => {
    const bytes = Buffer.from('d1:ad1:bi1eee');
    const outer = decodeBencode(bytes);
    assert.ok(isDictionary(outer));
    const inner = outer.entries.get('a');
    assert.ok(isDictionary(inner));
    assert.equal(bytes.subarray(inner.start, inner.end).toString(), 'd1:bi1ee');
  });

  test('what is no integer is not encoded', () => {
    for (const value of [0.5, Number.NaN, Infinity, 2 ** 53]) assert.throws(() => encodeBencode(value));
  });
});

describe('what is not canonical bencode is refused', () => {
  const table: [string, ErrorCode][] = [
    ['', 'protocol'],
    ['e', 'protocol'],
    ['x', 'protocol'],
    ['i', 'protocol'],
    ['ie', 'protocol'],
    ['i-e', 'protocol'],
    ['i-0e', 'protocol'],
    ['i03e', 'protocol'],
    ['i+3e', 'protocol'],
    ['i3.0e', 'protocol'],
    ['i 3e', 'protocol'],
    ['i9007199254740992e', 'protocol'],
    ['i99999999999999999999999999e', 'protocol'],
    [`i${'9'.repeat(100_000)}e`, 'protocol'],
    ['i3', 'protocol'],
    ['4:spa', 'protocol'],
    ['04:spam', 'protocol'],
    ['-4:spam', 'protocol'],
    ['l-3:', 'protocol'],
    [':', 'protocol'],
    ['9007199254740991:', 'protocol'],
    [`${'9'.repeat(100_000)}:`, 'protocol'],
    ['l', 'protocol'],
    ['l4:spam', 'protocol'],
    ['d', 'protocol'],
    ['d1:a', 'protocol'],
    ['d1:ae', 'protocol'],
    ['di1ei2ee', 'protocol'],
    ['d1:bi1e1:ai2ee', 'protocol'],
    ['d1:ai1e1:ai2ee', 'protocol'],
    ['d1:\xffi1ee', 'protocol'],
    [`d300:${'k'.repeat(300)}i1ee`, 'protocol'],
    ['i1ei2e', 'protocol'],
    ['de ', 'protocol'],
    ['l'.repeat(1_000_000), 'limit'],
    ['d1:a'.repeat(1_000_000), 'limit'],
    [`l${'le'.repeat(100_000)}e`, 'limit'],
    [`l${'0:'.repeat(100_000)}e`, 'limit'],
  ];
  for (const [text, code] of table) {
    test(JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}… ${text.length}` : text), () => {
      assert.throws(
        () => decode(text),
        (error) => isQuayctlError(error, code) && error.message.length < 200,
      );
    });
  }
});

describe('what trackers and peers say needs no canonical form, and has the same bounds', () => {
  const loose = (text: string): unknown => plain(decodeLooseBencode(Buffer.from(text, 'latin1')));
  const taken: [string, string, unknown][] = [
    ['keys in any order', 'd1:bi1e1:ai2ee', { a: 2, b: 1 }],
    ['a key twice', 'd1:ai1e1:ai2ee', { a: 2 }],
    ['keys that are no text', 'd1:\xffi1ee', { '\xff': 1 }],
    ['leading zeros', 'd1:ai007e1:b03:abce', { a: 7, b: 'abc' }],
    ['minus zero', 'i-0e', -0],
    ['something behind the value', 'd1:ai1ee\r\n', { a: 1 }],
  ];
  for (const [name, text, value] of taken) test(name, () => assert.deepEqual(loose(text), value));
  for (const text of [
    'l-3:',
    '5:abc',
    'i1',
    'd1:a',
    'l'.repeat(1000),
    `l${'i1e'.repeat(20_000)}e`,
    'i99999999999999999e',
    '',
  ]) {
    test(`refused: ${text.slice(0, 12)}`, () =>
      assert.throws(
        () => loose(text),
        (error) => isQuayctlError(error),
      ));
  }
});
