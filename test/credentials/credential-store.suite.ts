import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { Credential, CredentialStore } from '../../src/credentials/credential.ts';
import type { Scope } from '../helpers/processes.ts';

/** What the store under test holds; quay.example is one of the helper fixture's registries, too. */
export const HELD = { registry: 'quay.example:5000', username: 'me', password: 's3cret' } as const;

/** Promises of every CredentialStore. `open` makes one that holds HELD and nothing else. */
export function credentialStoreSuite(
  name: string,
  open: (scope: Scope) => Promise<CredentialStore>,
  skip: string | false = false,
): void {
  const { registry, username, password } = HELD;
  const signal = new AbortController().signal;

  test(
    `${name}: finds what it holds, for the registry and for each of its repositories`,
    { skip },
    async (t) => {
      const store = await open(t);
      const expected: Credential = { kind: 'basic', username, password };
      assert.deepEqual(await store.find(registry, undefined, signal), expected);
      assert.deepEqual(await store.find(registry, 'team/app', signal), expected);
    },
  );

  test(`${name}: gives nothing to any other host`, { skip }, async (t) => {
    const store = await open(t);
    const others = [
      'quay.example',
      'quay.example:5001',
      'quay.example:5000.evil.example',
      'evil.quay.example:5000',
      'docker.io',
      '__proto__',
      'constructor',
    ];
    for (const other of others) assert.equal(await store.find(other, registry, signal), undefined, other);
  });

  test(`${name}: what it gives shows no secret where it is printed`, { skip }, async (t) => {
    const credential = await (await open(t)).find(registry, undefined, signal);
    assert.equal(credential?.kind, 'basic');
    assert.doesNotMatch(inspect(credential) + JSON.stringify(credential), new RegExp(password));
  });

  test(`${name}: its name says where it is, without a secret`, { skip }, async (t) => {
    const store = await open(t);
    assert.match(store.name, /^(the|\/)/);
    assert.doesNotMatch(store.name, new RegExp(password));
  });

  test(`${name}: an aborted search ends with the reason of the signal`, { skip }, async (t) => {
    const store = await open(t);
    const reason = new Error('Ctrl-C');
    await assert.rejects(store.find(registry, undefined, AbortSignal.abort(reason)), reason);
  });
}
