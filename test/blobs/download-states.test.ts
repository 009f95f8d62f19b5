import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { QuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { TRANSITIONS } from '../../src/blobs/download-states.ts';
import type { BlobOutcome } from '../../src/blobs/transfer-ledger.ts';
import type { TorrentAnswer } from '../../src/registry/repository.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';
import {
  BlobStage,
  contentOf,
  descriptorOf,
  HASHING,
  MemoryRegistry,
  MemoryTorrentService,
  MIB,
  never,
  NO_TORRENT,
  torrentOf,
} from './kit.ts';

const LARGE = contentOf(8 * MIB);
const SMALL = contentOf(100_000);
const OTHER = contentOf(8 * MIB, 'other');
const SMALL_OTHER = contentOf(100_000, 'other');
const GONE = new QuayctlError('unreachable', 'the registry does not answer');
const DENIED = new QuayctlError('unauthorized', 'the registry refuses');
/** Of other bytes of the same size, though it says that it is of the right ones. */
const LIE = torrentOf(OTHER, descriptorOf(LARGE).digest);
const SMALL_LIE = torrentOf(SMALL_OTHER, descriptorOf(SMALL).digest);

interface Scenario {
  readonly name: string;
  readonly content: Buffer;
  readonly answers?: readonly (TorrentAnswer | QuayctlError)[];
  readonly skipWebSeed?: true;
  /** What is here from an earlier run. */
  readonly left?: Buffer;
  readonly peers?: Buffer;
  readonly registry?: (registry: MemoryRegistry) => void;
  readonly states: string;
  readonly fails?: ErrorCode;
  readonly outcome?: Partial<BlobOutcome>;
  readonly warns?: RegExp;
}

const size = LARGE.length;
const SCENARIOS: readonly Scenario[] = [
  {
    name: 'what an earlier run has left whole is only checked',
    content: LARGE,
    left: LARGE,
    states: 'begin commit',
    outcome: { fromStore: size },
  },
  {
    name: 'a small blob comes from the registry, and the service is not asked',
    content: SMALL,
    states: 'begin registry-first commit',
    outcome: { fromRegistry: SMALL.length },
  },
  {
    name: 'a small blob comes from peers when the registry hangs',
    content: SMALL,
    registry: (registry) => (registry.firstByteMs = 600_000),
    answers: [torrentOf(SMALL)],
    peers: SMALL,
    states: 'begin registry-first find-if-slow swarm commit',
    outcome: { fromPeers: SMALL.length },
  },
  {
    name: 'a small blob is waited for when the registry is slow and nobody has a torrent',
    content: SMALL,
    registry: (registry) => (registry.chunkMs = 3000),
    answers: [NO_TORRENT],
    states: 'begin registry-first find-if-slow registry commit',
    outcome: { fromRegistry: SMALL.length },
  },
  {
    name: 'a small blob comes from peers when the registry is gone',
    content: SMALL,
    registry: (registry) => (registry.failure = GONE),
    answers: [torrentOf(SMALL)],
    peers: SMALL,
    states: 'begin registry-first find-if-gone swarm commit',
    outcome: { fromPeers: SMALL.length },
  },
  {
    name: 'without registry and torrent a small blob fails with what the registry said',
    content: SMALL,
    registry: (registry) => (registry.failure = GONE),
    answers: [NO_TORRENT],
    states: 'begin registry-first find-if-gone',
    fails: 'unreachable',
  },
  {
    name: 'a registry that refuses a small blob is believed',
    content: SMALL,
    registry: (registry) => (registry.failure = DENIED),
    states: 'begin registry-first',
    fails: 'unauthorized',
  },
  {
    name: 'a large blob comes from its swarm',
    content: LARGE,
    answers: [torrentOf(LARGE)],
    peers: LARGE,
    states: 'begin find swarm commit',
    outcome: { fromPeers: size },
  },
  {
    name: 'a swarm whose registry refuses fails with what it said',
    content: LARGE,
    answers: [torrentOf(LARGE)],
    registry: (registry) => (registry.failure = DENIED),
    states: 'begin find swarm',
    fails: 'unauthorized',
  },
  {
    name: 'without a torrent the registry delivers',
    warns: /^no bytes come from peers: /,
    content: LARGE,
    answers: [NO_TORRENT],
    states: 'begin find registry commit',
    outcome: { fromRegistry: size },
  },
  {
    name: 'a registry that ends in the middle fails the download',
    content: LARGE,
    answers: [NO_TORRENT],
    registry: (registry) => (registry.failure = GONE),
    states: 'begin find registry',
    fails: 'unreachable',
  },
  {
    name: 'the registry delivers until the hashes are there, then the swarm; only a piece that was cut is fetched again',
    content: LARGE,
    answers: [HASHING, HASHING, torrentOf(LARGE)],
    peers: LARGE,
    registry: (registry) => (registry.chunkMs = 50),
    states: 'begin find registry-until-hashed swarm commit',
    outcome: { fromStore: 0, wasted: 256 * 1024 },
  },
  {
    name: 'the registry is quicker than the hashing',
    warns: /^no bytes come from peers: /,
    content: LARGE,
    answers: [HASHING],
    states: 'begin find registry-until-hashed commit',
    outcome: { fromRegistry: size },
  },
  {
    name: 'hashes that never come to anything leave the registry to it',
    warns: /^no bytes come from peers: /,
    content: LARGE,
    answers: [HASHING, NO_TORRENT],
    registry: (registry) => (registry.chunkMs = 50),
    states: 'begin find registry-until-hashed commit',
    outcome: { fromRegistry: size },
  },
  {
    name: 'a registry that fails while the service hashes fails the download',
    content: LARGE,
    answers: [HASHING],
    registry: (registry) => (registry.failure = GONE),
    states: 'begin find registry-until-hashed',
    fails: 'unreachable',
  },
  {
    name: 'a torrent of other bytes, without peers: the registry alone delivers',
    content: LARGE,
    answers: [LIE],
    states: 'begin find swarm registry commit',
    outcome: { fromRegistry: size },
    warns: /the swarm failed/,
  },
  {
    name: 'a torrent of other bytes, with peers that have them: the registry is asked for everything',
    content: LARGE,
    answers: [LIE],
    peers: OTHER,
    states: 'begin find swarm commit registry-again commit-again',
    outcome: { fromRegistry: size, fromPeers: 0, wasted: size },
    warns: /fetching it again from the registry alone/,
  },
  {
    name: 'a byte that is damaged on the way is fetched again',
    content: LARGE,
    answers: [NO_TORRENT],
    registry: (registry) => (registry.damaged = 1),
    states: 'begin find registry commit registry-again commit-again',
    outcome: { fromRegistry: size, wasted: size },
  },
  {
    name: 'what an earlier run has left damaged is fetched again',
    content: LARGE,
    left: OTHER,
    states: 'begin commit registry-again commit-again',
    outcome: { fromRegistry: size, fromStore: 0, wasted: size },
  },
  {
    name: 'a small blob of which the registry gives other bytes comes from peers',
    content: SMALL,
    registry: (registry) => (registry.content = SMALL_OTHER),
    answers: [torrentOf(SMALL)],
    peers: SMALL,
    states:
      'begin registry-first commit registry-again commit-again find-if-wrong peers-if-wrong commit-last',
    outcome: { fromPeers: SMALL.length, fromRegistry: 0, wasted: 2 * SMALL.length },
    warns: /fetching it again from the registry alone/,
  },
  {
    name: 'a small blob that is wrong at the registry, and that no peer has, is told as wrong',
    content: SMALL,
    registry: (registry) => (registry.content = SMALL_OTHER),
    answers: [torrentOf(SMALL)],
    states: 'begin registry-first commit registry-again commit-again find-if-wrong peers-if-wrong',
    fails: 'verification',
  },
  {
    name: 'a small blob that is wrong at the registry, and has no torrent, is told as wrong',
    content: SMALL,
    registry: (registry) => (registry.content = SMALL_OTHER),
    answers: [NO_TORRENT],
    states: 'begin registry-first commit registry-again commit-again find-if-wrong',
    fails: 'verification',
  },
  {
    name: 'what gives another blob than its digest is wrong whoever gave it',
    content: SMALL,
    registry: (registry) => (registry.content = SMALL_OTHER),
    answers: [SMALL_LIE],
    peers: SMALL_OTHER,
    states:
      'begin registry-first commit registry-again commit-again find-if-wrong peers-if-wrong commit-last',
    fails: 'verification',
  },
  {
    name: 'a registry that is wrong twice is not asked a third time',
    content: LARGE,
    answers: [NO_TORRENT],
    registry: (registry) => (registry.content = OTHER),
    states: 'begin find registry commit registry-again commit-again',
    fails: 'verification',
  },
  {
    name: 'a registry that is gone when it is asked again fails the download',
    content: LARGE,
    left: OTHER,
    registry: (registry) => (registry.failure = GONE),
    states: 'begin commit registry-again',
    fails: 'unreachable',
  },
  {
    name: '--skip-web-seed: peers alone, and no byte from the registry',
    content: LARGE,
    skipWebSeed: true,
    answers: [torrentOf(LARGE)],
    peers: LARGE,
    states: 'begin find-peers peers commit',
    outcome: { fromPeers: size, fromRegistry: 0 },
  },
  {
    name: '--skip-web-seed waits for the hashes',
    content: SMALL,
    skipWebSeed: true,
    answers: [HASHING, HASHING, torrentOf(SMALL)],
    peers: SMALL,
    states: 'begin find-peers peers commit',
    outcome: { fromPeers: SMALL.length },
  },
  {
    name: '--skip-web-seed without a torrent is an error',
    content: LARGE,
    skipWebSeed: true,
    answers: [NO_TORRENT],
    states: 'begin find-peers',
    fails: 'no-torrent',
  },
  {
    name: '--skip-web-seed says what the service refused',
    content: LARGE,
    skipWebSeed: true,
    answers: [new QuayctlError('unauthorized', 'the service refuses')],
    states: 'begin find-peers',
    fails: 'unauthorized',
  },
  {
    name: '--skip-web-seed without peers is an error',
    content: LARGE,
    skipWebSeed: true,
    answers: [torrentOf(LARGE)],
    states: 'begin find-peers peers',
    fails: 'no-peers',
  },
  {
    name: '--skip-web-seed with wrong bytes is an error: the registry may not be asked',
    content: LARGE,
    skipWebSeed: true,
    answers: [LIE],
    peers: OTHER,
    states: 'begin find-peers peers commit',
    fails: 'verification',
  },
];

const walked = new Set<string>();

for (const scenario of SCENARIOS) {
  test(scenario.name, async (t) => {
    const time = new VirtualTime(t);
    const { content, answers = [], left, peers, skipWebSeed = false } = scenario;
    const stage = new BlobStage();
    const blob = descriptorOf(content);
    if (left !== undefined) {
      const partial = await stage.store.begin(blob, never);
      assert.ok(partial !== 'present');
      await partial.write(0, left);
      await partial.close();
    }
    if (peers !== undefined) stage.swarm.peers.content = peers;
    const registry = new MemoryRegistry(content);
    scenario.registry?.(registry);
    const origin = stage.origin(registry, new MemoryTorrentService(...answers), { skipWebSeed });
    const download = stage.downloads.start(blob, origin);
    const end = time.until(download.wait(never));
    if (scenario.fails === undefined) {
      const { fromPeers, fromRegistry, fromStore, ...rest } = await end;
      const outcome = { fromPeers, fromRegistry, fromStore, ...rest };
      assert.equal(fromPeers + fromRegistry + fromStore, content.length, 'every byte has one source');
      if (rest.wasted === 0) assert.equal(registry.given, fromRegistry, 'no byte is asked for twice');
      for (const [key, value] of Object.entries(scenario.outcome ?? {}))
        assert.equal(outcome[key as keyof BlobOutcome], value, key);
      assert.deepEqual(await buffer(await stage.store.stream(blob.digest)), content);
    } else {
      await assert.rejects(end, (error: QuayctlError) => error.code === scenario.fails);
      assert.equal(await stage.store.stat(blob.digest), undefined);
    }
    if (skipWebSeed) assert.equal(registry.given, 0);
    const last = scenario.fails === undefined ? 'done' : 'failed';
    assert.deepEqual(download.states, ['queued', ...scenario.states.split(' '), last]);
    for (const [at, state] of download.states.entries()) walked.add(`${download.states[at - 1]} -> ${state}`);
    if (scenario.warns !== undefined) assert.match(stage.warnings().join('\n'), scenario.warns);
    else if (last === 'done' && scenario.outcome?.wasted === undefined)
      assert.deepEqual(stage.warnings(), []);
    // Another one may have the blob now: nothing is held.
    const again = await stage.store.begin(blob, never);
    if (again !== 'present') await again.close();
  });
}

test('a signal ends a download in every state, with its reason, and what has arrived stays', async (t) => {
  for (const scenario of SCENARIOS.filter(({ left }) => left === undefined)) {
    await t.test(scenario.name, async (each) => {
      const time = new VirtualTime(each);
      const { content, answers = [], peers, skipWebSeed = false } = scenario;
      const stage = new BlobStage();
      if (peers !== undefined) stage.swarm.peers.content = peers;
      const registry = new MemoryRegistry(content);
      registry.chunkMs = 20;
      scenario.registry?.(registry);
      const service = new MemoryTorrentService(...answers);
      service.answerMs = 100;
      const stop = new AbortController();
      const blob = descriptorOf(content);
      const origin = stage.origin(registry, service, { skipWebSeed });
      const download = stage.downloads.start(blob, origin);
      const end = download.wait(stop.signal);
      end.catch(() => undefined);
      await time.advance(30);
      const reason = new QuayctlError('interrupted', 'enough');
      stop.abort(reason);
      if (download.states.at(-1) !== 'failed' && download.states.at(-1) !== 'done') {
        await assert.rejects(time.until(end), reason);
        assert.equal(download.states.at(-1), 'failed');
      }
      const again = await stage.store.begin(blob, never);
      if (again !== 'present') await again.close();
    });
  }
});

test('every row of the table was walked through', () => {
  const rows = Object.entries(TRANSITIONS).flatMap(([state, row]) =>
    Object.values(row).map((next) => `${state} -> ${next}`),
  );
  const missed = rows.filter((row) => !walked.has(row));
  assert.deepEqual(missed, []);
});
