import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { failureOf } from '../../src/cli/failure.ts';

const CONTRACT: readonly (readonly [ErrorCode, number])[] = [
  ['usage', 2],
  ['unauthorized', 3],
  ['not-found', 4],
  ['engine', 5],
  ['verification', 6],
  ['unreachable', 1],
  ['disk-full', 1],
  ['unsupported', 1],
  ['no-peers', 1],
];

for (const [code, exitCode] of CONTRACT) {
  test(`${code} ends with ${exitCode}`, () => {
    assert.equal(failureOf(new QuayctlError(code, 'x'), undefined).exitCode, exitCode);
  });
}

test('a signal decides the exit code, whatever it interrupted', () => {
  assert.equal(failureOf(new QuayctlError('unreachable', 'x'), 143).exitCode, 143);
});

test('the cause chain is told once each, redacted, without repeating the message', () => {
  const cause = new Error('GET http://user:hunter2@host/x?sig=1 failed', {
    cause: new Error('ECONNREFUSED'),
  });
  const failure = failureOf(new QuayctlError('unreachable', 'host does not answer', { cause }), undefined);
  assert.equal(failure.causes.length, 2);
  assert.doesNotMatch(JSON.stringify(failure), /hunter2/);
  assert.equal(failure.causes[1], 'ECONNREFUSED');
});

test('an error that is none of ours is an internal one', () => {
  assert.equal(failureOf(new TypeError('x is not a function'), undefined).code, 'internal');
});
