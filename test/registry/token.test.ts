import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLogin, openRepository } from '../../src/registry/open-repository.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startTokenServer, type TokenServer } from '../helpers/token-server.ts';
import { accessTo, collect, failure } from './access.ts';
import { descriptorOf } from './descriptor.ts';

const skip = skipWithout('docker-registry', 'openssl');
const ADA = { kind: 'basic', username: 'ada', password: 'engine' } as const;
const IDENTITY = { kind: 'identity-token', token: 'refresh-me-please' } as const;
const PULL = 'repository:team/app:pull';

async function guarded(t: Scope): Promise<{
  readonly tokens: TokenServer;
  readonly registry: TestRegistry;
  readonly blob: ReturnType<typeof descriptorOf>;
}> {
  const tokens = await startTokenServer(t, {
    users: { [ADA.username]: ADA.password },
    identityTokens: [IDENTITY.token],
    anonymousPull: false,
  });
  const registry = await startRegistry(t, { auth: tokens.auth });
  const layout = await TestLayout.create(await tempDirectory(t));
  const image = await layout.addImage({ layers: [randomLayer(10_000, 'a')] });
  await pushImage(layout, image.manifest, {
    url: registry.url,
    repository: 'team/app',
    tag: '1.0',
    authorization: tokens.authorization('repository:team/app:pull,push'),
  });
  return { tokens, registry, blob: descriptorOf(image.layers[0]) };
}

test('a password earns one token for all requests of a repository', { skip }, async (t) => {
  const { tokens, registry, blob } = await guarded(t);
  const repository = openRepository(accessTo(t, registry.host, { credential: ADA }), 'team/app');
  await repository.manifest('1.0', t.signal);
  await Promise.all(
    Array.from({ length: 8 }, (_, at) => collect(repository.blob(blob, at, at + 100, t.signal))),
  );
  assert.deepEqual(tokens.requests, [`GET ${PULL} ada`]);
});

test('requests that meet the challenge together share one token', { skip }, async (t) => {
  const { tokens, registry, blob } = await guarded(t);
  const repository = openRepository(accessTo(t, registry.host, { credential: ADA }), 'team/app');
  await Promise.all(
    Array.from({ length: 8 }, (_, at) => collect(repository.blob(blob, at, at + 100, t.signal))),
  );
  assert.deepEqual(tokens.requests, [`GET ${PULL} ada`]);
});

test('an identity token is exchanged by POST, a registry token is used as it is', { skip }, async (t) => {
  const { tokens, registry } = await guarded(t);
  await openRepository(accessTo(t, registry.host, { credential: IDENTITY }), 'team/app').manifest(
    '1.0',
    t.signal,
  );
  assert.deepEqual(tokens.requests, [`POST ${PULL} (identity)`]);
  const credential = { kind: 'registry-token', token: tokens.authorization(PULL).slice(7) } as const;
  await openRepository(accessTo(t, registry.host, { credential }), 'team/app').manifest('1.0', t.signal);
  assert.equal(tokens.requests.length, 1, 'nobody else is asked');
});

test('a token that the registry takes for expired is renewed once', { skip }, async (t) => {
  const { tokens, registry } = await guarded(t);
  const repository = openRepository(accessTo(t, registry.host, { credential: ADA }), 'team/app');
  // Told to be good, signed as long expired: the server's clock is wrong.
  tokens.life = { told: 300, signed: -600 };
  await assert.rejects(repository.manifest('1.0', t.signal), { code: 'unauthorized' });
  assert.equal(tokens.requests.length, 2);
  tokens.life = { told: 300, signed: 300 };
  await repository.manifest('1.0', t.signal);
  assert.equal(tokens.requests.length, 3);
  await repository.manifest('1.0', t.signal);
  assert.equal(tokens.requests.length, 3);
});

test('a token is not used after its time', { skip }, async (t) => {
  const { tokens, registry } = await guarded(t);
  tokens.life = { told: 1e-3, signed: 300 };
  const repository = openRepository(accessTo(t, registry.host, { credential: ADA }), 'team/app');
  await repository.manifest('1.0', t.signal);
  await repository.manifest('1.0', t.signal);
  assert.equal(tokens.requests.length, 2);
});

test(
  'wrong passwords and dead identity tokens say what to do, and not what they were',
  { skip },
  async (t) => {
    const { registry } = await guarded(t);
    for (const credential of [
      { ...ADA, password: 'analytical' },
      { ...IDENTITY, token: 'analytical' },
      { kind: 'registry-token', token: 'analytical' },
      undefined,
    ] as const) {
      const access = accessTo(t, registry.host, credential === undefined ? {} : { credential });
      const error = await failure(openRepository(access, 'team/app').manifest('1.0', t.signal));
      assert.equal(error.code, 'unauthorized');
      assert.match(error.hint ?? '', /quayctl login/);
      assert.doesNotMatch(`${error.stack} ${error.hint} ${JSON.stringify(error)}`, /analytical/);
    }
  },
);

test('login is a question without a scope', { skip }, async (t) => {
  const { tokens, registry } = await guarded(t);
  await checkLogin(accessTo(t, registry.host, { credential: ADA }), t.signal);
  assert.deepEqual(tokens.requests, ['GET ada']);
  const wrong = { ...ADA, password: 'difference' };
  await assert.rejects(checkLogin(accessTo(t, registry.host, { credential: wrong }), t.signal), {
    code: 'unauthorized',
  });
});
