import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { guarded, type Credential } from '../../src/credentials/credential.ts';

const CREDENTIALS: Credential[] = [
  { kind: 'basic', username: 'me', password: 's3cret' },
  { kind: 'identity-token', username: 'me', token: 's3cret' },
  { kind: 'registry-token', token: 's3cret' },
];

for (const credential of CREDENTIALS) {
  test(`a guarded ${credential.kind} credential is the same, and shows no secret`, () => {
    const kept = guarded(credential);
    assert.deepEqual(kept, credential);
    for (const text of [inspect(kept), inspect({ deep: [kept] }), JSON.stringify({ kept })]) {
      assert.doesNotMatch(text, /s3cret/);
      assert.match(text, /redacted/);
      assert.ok(text.includes(credential.kind));
    }
  });
}
