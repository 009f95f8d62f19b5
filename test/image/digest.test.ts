import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import {
  digestFromHex,
  digestHex,
  digestOf,
  isDigest,
  parseDigest,
  shortDigest,
} from '../../src/image/digest.ts';

const HEX = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

test('the digest of nothing, and its parts', () => {
  const digest = digestOf(new Uint8Array());
  assert.equal(digest, `sha256:${HEX}`);
  assert.equal(digestHex(digest), HEX);
  assert.equal(digestFromHex(HEX), digest);
  assert.equal(shortDigest(digest), 'sha256:e3b0c44298fc');
  assert.equal(parseDigest(digest), digest);
});

describe('what is no digest that could be verified', () => {
  const table: [string, ErrorCode][] = [
    ['', 'protocol'],
    [HEX, 'protocol'],
    ['sha256:', 'protocol'],
    [`sha256:${HEX.slice(1)}`, 'protocol'],
    [`sha256:${HEX}0`, 'protocol'],
    [`sha256:${HEX.toUpperCase()}`, 'protocol'],
    [`SHA256:${HEX}`, 'protocol'],
    [`sha256:${HEX}\n`, 'protocol'],
    ['sha256:../../../../etc/passwd', 'protocol'],
    ['x'.repeat(100_000), 'protocol'],
    [`sha512:${HEX}${HEX}`, 'unsupported'],
    [`sha256+b64u:${HEX}`, 'unsupported'],
    [`blake3:${HEX}`, 'unsupported'],
  ];
  for (const [text, code] of table) {
    test(JSON.stringify(text.slice(0, 40)), () => {
      assert.equal(isDigest(text), false);
      assert.throws(
        () => parseDigest(text),
        (error) => isQuayctlError(error, code) && error.message.length < 300,
      );
    });
  }
});
