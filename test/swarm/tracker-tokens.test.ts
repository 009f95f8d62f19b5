import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { inspect } from 'node:util';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import { TrackerTokens } from '../../src/swarm/tracker/tracker-tokens.ts';

const never = new AbortController().signal;
const TRACKER = new TrackerAddress('http://tracker.example/announce');

/** An announce URL whose token says that it lives so many seconds, by a clock that is years off. */
function withToken(name: string, life: number): TrackerAddress {
  const claims = { iat: 1_000_000, exp: 1_000_000 + life, name };
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return new TrackerAddress(`${TRACKER.key}?jwt=e30.${payload}.x`);
}

const urlOf = (tracker: TrackerAddress | undefined): string | undefined => tracker?.announceUrl;

test('a token is renewed between half and three quarters of its life, by our own count of time', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let asked = 0;
  const tokens = new TrackerTokens([withToken('first', 3600)], () => {
    asked++;
    return Promise.resolve([withToken(`renewed ${asked}`, 3600)]);
  });
  assert.deepEqual(
    tokens.trackers.map(({ key }) => key),
    [TRACKER.key],
  );
  now = 1_799_000;
  assert.equal(urlOf(await tokens.fresh(TRACKER, never)), urlOf(withToken('first', 3600)));
  now = 2_701_000;
  const both = await Promise.all([tokens.fresh(TRACKER, never), tokens.fresh(TRACKER, never)]);
  assert.deepEqual(
    both.map(urlOf),
    Array.from({ length: 2 }, () => urlOf(withToken('renewed 1', 3600))),
  );
  assert.equal(asked, 1);
  now += 1_799_000;
  await tokens.fresh(TRACKER, never);
  assert.equal(asked, 1);
});

test('where the service is away the old token stays, and is asked for again later', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let asked = 0;
  const tokens = new TrackerTokens([withToken('first', 60)], () => {
    asked++;
    return Promise.reject(new QuayctlError('unreachable', 'away'));
  });
  now = 50_000;
  for (let round = 0; round < 5; round++) {
    assert.equal(urlOf(await tokens.fresh(TRACKER, never)), urlOf(withToken('first', 60)));
  }
  assert.equal(asked, 1);
  now += 31_000;
  await tokens.fresh(TRACKER, never);
  assert.equal(asked, 2);
});

test('a refused token is replaced once, not at every refusal', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let asked = 0;
  const tokens = new TrackerTokens([TRACKER], () => Promise.resolve([withToken(`${asked++}`, 60)]));
  assert.equal(urlOf(await tokens.replaced(TRACKER, never)), urlOf(withToken('0', 60)));
  assert.equal(await tokens.replaced(withToken('0', 60), never), undefined);
  assert.equal(
    urlOf(await tokens.replaced(TRACKER, never)),
    urlOf(withToken('0', 60)),
    'who comes late gets it, too',
  );
  now = 61_000;
  assert.equal(urlOf(await tokens.replaced(withToken('0', 60), never)), urlOf(withToken('1', 60)));
  assert.equal(asked, 2);
});

test('trackers without tokens, and tokens without an end, are left alone', async () => {
  const given = [
    'http://tracker.example/announce',
    'http://other.example/announce?jwt=nonsense',
    'udp://third.example:6969/announce',
  ].map((url) => new TrackerAddress(url));
  const renew = (): Promise<never> => Promise.reject(new Error('nobody asks'));
  const tokens = new TrackerTokens(given, renew);
  for (const tracker of given) assert.equal(await tokens.fresh(tracker, never), tracker);
  const fixed = new TrackerTokens([TRACKER], undefined);
  assert.equal(await fixed.replaced(TRACKER, never), undefined);
});

test('nothing that is printed by chance shows a token, a passkey or a password', () => {
  const tracker = new TrackerAddress(
    'https://u:passw0rd@tracker.example/announce?jwt=a.s3cret.b&passkey=s3cret',
  );
  const shown = [
    [tracker, tracker.token].join(),
    JSON.stringify(tracker),
    inspect(tracker, { depth: 9, getters: false }),
    tracker.withoutSecrets().announceUrl,
    tracker.name,
  ];
  for (const text of shown) assert.doesNotMatch(text, /s3cret/);
  assert.equal(tracker.withoutSecrets().announceUrl, 'https://tracker.example/announce');
  assert.equal(tracker.token?.lifetimeMs, undefined);
  assert.equal(withToken('x', 60).token?.lifetimeMs, 60_000);
});
