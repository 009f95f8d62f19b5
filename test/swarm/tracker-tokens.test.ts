import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { TrackerTokens } from '../../src/swarm/tracker/tracker-tokens.ts';

const never = new AbortController().signal;
const TRACKER = 'http://tracker.example/announce';

/** An announce URL whose token says that it lives so many seconds, by a clock that is years off. */
function withToken(name: string, life: number): string {
  const claims = { iat: 1_000_000, exp: 1_000_000 + life, name };
  return `${TRACKER}?jwt=e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
}

test('a token is renewed between half and three quarters of its life, by our own count of time', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let asked = 0;
  const tokens = new TrackerTokens([withToken('first', 3600)], () => {
    asked++;
    return Promise.resolve([withToken(`renewed ${asked}`, 3600)]);
  });
  assert.deepEqual(tokens.places, [TRACKER]);
  now = 1_799_000;
  assert.equal(await tokens.fresh(TRACKER, never), withToken('first', 3600));
  now = 2_701_000;
  const both = await Promise.all([tokens.fresh(TRACKER, never), tokens.fresh(TRACKER, never)]);
  assert.deepEqual(both, [withToken('renewed 1', 3600), withToken('renewed 1', 3600)]);
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
    assert.equal(await tokens.fresh(TRACKER, never), withToken('first', 60));
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
  assert.equal(await tokens.replaced(TRACKER, TRACKER, never), withToken('0', 60));
  assert.equal(await tokens.replaced(withToken('0', 60), TRACKER, never), undefined);
  assert.equal(
    await tokens.replaced(TRACKER, TRACKER, never),
    withToken('0', 60),
    'who comes late gets it, too',
  );
  now = 61_000;
  assert.equal(await tokens.replaced(withToken('0', 60), TRACKER, never), withToken('1', 60));
  assert.equal(asked, 2);
});

test('trackers without tokens, and tokens without an end, are left alone', async () => {
  const urls = [TRACKER, 'http://other.example/announce?jwt=nonsense', 'udp://third.example:6969/announce'];
  const renew = (): Promise<never> => Promise.reject(new Error('nobody asks'));
  const tokens = new TrackerTokens(urls, renew);
  for (const place of tokens.places) assert.ok(urls.includes(await tokens.fresh(place, never)));
  const fixed = new TrackerTokens([TRACKER], undefined);
  assert.equal(await fixed.replaced(TRACKER, TRACKER, never), undefined);
});
