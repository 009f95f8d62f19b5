import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT, type JWK } from 'jose';
import { decodeBencode, isDictionary } from '../../src/metainfo/bencode.ts';
import { decodeTorrent, type InfoHash } from '../../src/metainfo/metainfo.ts';
import { loadSecrets, rotateKey } from '../../src/serve/tokens/secret-file.ts';
import { aliveKeys, makeSigningKey, rotated, signerOf } from '../../src/serve/tokens/signing-key.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const MISSING = 'unapproved request: missing jwt';
const INVALID = 'unapproved request: invalid jwt';
const HOUR = 3600;

interface StoredKey {
  readonly kid: string;
  readonly created: number;
  readonly jwk: JWK;
}

interface Swarm {
  readonly service: TestService;
  readonly infoHash: InfoHash;
  readonly token: string;
  readonly key: StoredKey;
  readonly digest: string;
}

async function swarm(t: TestContext, tokenTtlSeconds = HOUR): Promise<Swarm> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, tokenTtlSeconds });
  const digest = image.layers[0]?.digest ?? '';
  const { infoHash, token } = await join_(service, digest);
  const [key] = await storedKeys(service);
  return { service, infoHash, token, digest, key: key ?? assert.fail('no key') };
}

async function join_(
  service: TestService,
  digest: string,
  authorization?: string,
): Promise<{ infoHash: InfoHash; token: string }> {
  const answer = await service.torrent(
    'team/app',
    digest,
    authorization === undefined ? {} : { authorization },
  );
  const torrent = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
  const { infoHash } = torrent;
  const url = new URL(torrent.trackers[0]?.announceUrl ?? '');
  return { infoHash, token: url.searchParams.get('jwt') ?? '' };
}

async function storedKeys({ data }: TestService): Promise<readonly StoredKey[]> {
  const text = await readFile(join(data, 'secret.json'), 'utf8');
  return (JSON.parse(text) as { keys: StoredKey[] }).keys;
}

/** What the tracker says to an announce with this token; `none` for a good one. */
async function announce(
  { service, infoHash }: Pick<Swarm, 'service' | 'infoHash'>,
  token: string | undefined,
  event = '',
): Promise<string> {
  const hash = infoHash.replace(/../g, '%$&');
  const jwt = token === undefined ? '' : `&jwt=${encodeURIComponent(token)}`;
  const query = `info_hash=${hash}&peer_id=-XX0000-000000000000&port=7000&left=0&event=${event}${jwt}`;
  const decoded = decodeBencode(await (await fetch(`${service.url}/announce?${query}`)).bytes());
  assert.ok(isDictionary(decoded));
  const reason = decoded.entries.get('failure reason');
  return reason instanceof Uint8Array ? Buffer.from(reason).toString() : 'none';
}

test('a token says what the protocol says, and no more', async (t) => {
  const { service, token, infoHash, key, digest } = await swarm(t);
  assert.deepEqual(decodeProtectedHeader(token), { alg: 'RS256', kid: key.kid, typ: 'JWT' });
  const { iat = 0, sub, ...claims } = decodeJwt(token);
  assert.ok(Math.abs(iat - Date.now() / 1000) < 5);
  assert.match(sub ?? '', /^[0-9a-f]{64}$/);
  assert.deepEqual(claims, {
    iss: service.url,
    aud: `${service.url}/announce`,
    infohash: infoHash,
    exp: iat + HOUR,
  });
  const subject = async (authorization?: string): Promise<string | undefined> =>
    decodeJwt((await join_(service, digest, authorization)).token).sub;
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  const bearer = (payload: object): string =>
    `Bearer e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.${'x'.repeat(9)}`;
  assert.equal(await subject(), sub, 'anonymous callers are one');
  const alice = await subject(basic('alice:one'));
  assert.equal(await subject(basic('alice:two')), alice, 'a new password does not make a new subject');
  const names = [sub, alice, await subject(basic('bob:one')), await subject(bearer({ sub: 'alice' }))];
  assert.equal(new Set(names).size, names.length);
  assert.equal(await subject(bearer({ sub: '' })), sub, "distribution's anonymous tokens");
});

test('the tracker takes a token that is good, for its swarm, and nothing else', async (t) => {
  const here = await swarm(t);
  const { service, token, key } = here;
  assert.equal(await announce(here, token), 'none');
  assert.equal(await announce(here, undefined), MISSING);
  assert.equal(await announce(here, ''), MISSING);

  const now = Math.floor(Date.now() / 1000);
  const claims = { ...decodeJwt(token) };
  const privateKey = await importJWK(key.jwk, 'RS256');
  const signed = (changes: Record<string, unknown>, kid = key.kid): Promise<string> =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey);
  const raw = (header: object, payload: object = claims, signature = ''): string =>
    [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') +
    `.${signature}`;
  const stranger = await makeSigningKey(Date.now());
  const foreign = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', kid: key.kid })
    .sign(await importJWK(stranger.jwk, 'RS256'));
  const pem = createPublicKey({ key: key.jwk, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  });
  const confused = (secret: string): Promise<string> =>
    new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: key.kid }).sign(Buffer.from(secret));

  for (const [name, bad] of [
    ['another swarm', await signed({ infohash: '0'.repeat(40) })],
    ['no swarm', await signed({ infohash: undefined })],
    ['expired', await signed({ exp: now - 10 })],
    ['without end', await signed({ exp: undefined })],
    ['another issuer', await signed({ iss: 'http://elsewhere' })],
    ['another audience', await signed({ aud: 'http://elsewhere/announce' })],
    ['not valid yet', await signed({ nbf: now + 2 * HOUR })],
    ['an unknown kid', await signed({}, 'unknown')],
    ['another key under our kid', foreign],
    ['alg none', raw({ alg: 'none', kid: key.kid })],
    ['alg none, with a signature', raw({ alg: 'none', kid: key.kid }, claims, token.split('.')[2])],
    ['HS256 with the public key as PEM', await confused(pem.toString())],
    [
      'HS256 with the public key as JWK',
      await confused(JSON.stringify({ kty: 'RSA', n: key.jwk.n, e: key.jwk.e })),
    ],
    ['a cut signature', token.slice(0, -10)],
    ['no JWT', 'x'.repeat(100)],
    ['giant', `${token}${'a'.repeat(8000)}`],
  ] as const) {
    assert.equal(await announce(here, bad), INVALID, name);
  }
  assert.equal(await announce({ service, infoHash: '11'.repeat(20) as InfoHash }, token), INVALID);
  assert.equal(await announce(here, await signed({})), 'none', 'the forger of this test can make a good one');
});

test('who leaves within an hour after his token died is heard', async (t) => {
  const here = await swarm(t);
  const privateKey = await importJWK(here.key.jwk, 'RS256');
  const expired = (ago: number): Promise<string> =>
    new SignJWT({ ...decodeJwt(here.token), exp: Math.floor(Date.now() / 1000) - ago })
      .setProtectedHeader({ alg: 'RS256', kid: here.key.kid })
      .sign(privateKey);
  assert.equal(await announce(here, await expired(3500), 'stopped'), 'none');
  assert.equal(await announce(here, await expired(3500), 'started'), INVALID);
  assert.equal(await announce(here, await expired(3700), 'stopped'), INVALID);
});

test('a key that was rotated in stands in the set at once, and signs an hour later', async (t) => {
  const here = await swarm(t);
  const set = async (): Promise<string[]> => {
    const answer = await fetch(`${here.service.url}/.well-known/jwks.json`);
    assert.match(answer.headers.get('content-type') ?? '', /json/);
    const { keys } = (await answer.json()) as { keys: JWK[] };
    for (const key of keys) assert.deepEqual(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use']);
    return keys.map(({ kid = '' }) => kid);
  };
  assert.deepEqual(await set(), [here.key.kid]);
  const path = join(here.service.data, 'secret.json');
  const added = await rotateKey(path);
  const clock = t.mock.method(performance, 'now', () => 1e9);
  assert.deepEqual(await set(), [here.key.kid, added.kid]);
  const fresh = await join_(here.service, here.digest);
  assert.equal(decodeProtectedHeader(fresh.token).kid, here.key.kid);
  assert.equal(await announce(here, here.token), 'none');

  // As if the rotation had been two hours ago: the token of the old key, an hour old, is just dead.
  const content = JSON.parse(await readFile(path, 'utf8')) as { keys: StoredKey[] };
  const aged = content.keys.map((key) => ({ ...key, created: key.created - 2 * HOUR - 60 }));
  await writeFile(path, JSON.stringify({ ...content, keys: aged }));
  clock.mock.mockImplementation(() => 2e9);
  const next = await join_(here.service, here.digest);
  assert.equal(decodeProtectedHeader(next.token).kid, added.kid);
  assert.deepEqual(await set(), [added.kid]);
  assert.equal(await announce(here, next.token), 'none');
});

test('a key signs, stays and goes as its time comes', async () => {
  const at = (created: number): { kid: string; created: number; jwk: JWK } => ({
    kid: `${created}`,
    created,
    jwk: {},
  });
  const keys = [at(0), at(100_000), at(100_100)];
  for (const [now, signer, alive] of [
    [0, '0', '0 100000 100100'],
    [103_599, '0', '0 100000 100100'],
    [103_600, '100000', '0 100000 100100'],
    [103_700, '100100', '0 100000 100100'],
    [107_200, '100100', '100000 100100'],
    [107_300, '100100', '100100'],
  ] as const) {
    assert.equal(signerOf(keys, now * 1000)?.kid, signer, `signer at ${now}`);
    assert.equal(
      aliveKeys(keys, HOUR, now * 1000)
        .map(({ kid }) => kid)
        .join(' '),
      alive,
      `alive at ${now}`,
    );
  }
  const many = Array.from({ length: 200 }, (_, index) => index * 86_400).reduce(
    (kept, created) => rotated(kept, at(created)),
    [at(-1)] as ReturnType<typeof rotated>,
  );
  assert.ok(many.length <= 33, `${many.length} keys are kept`);
});

test('keys are added by many processes at once, and none is lost', async (t) => {
  const path = join(await tempDirectory(t, 'secret'), 'secret.json');
  // The service makes the file and its first key; there is nothing to rotate before.
  const [first] = (await loadSecrets(path)).keys;
  const added = await Promise.all(Array.from({ length: 4 }, () => rotateKey(path)));
  const { keys } = JSON.parse(await readFile(path, 'utf8')) as { keys: StoredKey[] };
  const wanted = [first?.kid ?? '', ...added.map(({ kid }) => kid)];
  assert.deepEqual(keys.map(({ kid }) => kid).sort(), wanted.sort());
});
