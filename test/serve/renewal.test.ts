import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { decodeJwt } from 'jose';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import type { RenewTrackers } from '../../src/swarm/tracker/tracker-tokens.ts';
import { decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { startServer } from '../helpers/http-server.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';
import { emptyStorage, fullStorage, node } from '../swarm/kit.ts';

interface Served {
  readonly service: TestService;
  readonly content: Buffer;
  readonly torrent: () => Promise<Metainfo>;
}

async function served(t: TestContext, tokenTtlSeconds: number): Promise<Served> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1_000_000, 'a')] }, 'team/app:1.0');
  const digest = image.layers[0]?.digest ?? '';
  const service = await startService(t, { upstream: `oci:${layout.directory}`, tokenTtlSeconds });
  const torrent = async (): Promise<Metainfo> =>
    decodeTorrent(await (await service.torrent('team/app', digest)).bytes());
  return { service, content: await layout.blob(digest), torrent };
}

const outcomes = ({ events }: TestService): string[] =>
  events.flatMap((event) => (event.kind === 'announced' ? [event.outcome] : []));

/** When the torrent's first token expires, milliseconds since 1970. */
function expiryOf({ trackers: [tracker] }: Metainfo): number {
  return (decodeJwt(tracker?.token?.jwt ?? '').exp ?? assert.fail('it does not expire')) * 1000;
}

test('a download that lasts longer than its token finds peers that come after', async (t) => {
  const { service, content, torrent } = await served(t, 2);
  const renewTrackers: RenewTrackers = async () => (await torrent()).trackers;
  const signal = t.signal;
  const storage = emptyStorage(content.length);
  const metainfo = await torrent();
  const leecher = await node(t).join({ metainfo, storage, renewTrackers, signal });
  const expires = expiryOf(metainfo);
  while (Date.now() <= expires) await sleep(20);
  await node(t).join({ metainfo: await torrent(), storage: fullStorage(content), signal });
  await leecher.done;
  assert.deepEqual(storage.bytes, content);
  // The seed may have dialled the leech: its next word to the tracker shows whether its token was renewed.
  while (outcomes(service).length <= 2) await sleep(20);
  assert.ok(!outcomes(service).includes('refused'), outcomes(service).join(' '));
});

test('a refused token is renewed at once', async (t) => {
  const { service, content, torrent } = await served(t, 3600);
  const metainfo = await torrent();
  const stripped = { ...metainfo, trackers: metainfo.trackers.map((tracker) => tracker.withoutSecrets()) };
  const renewTrackers: RenewTrackers = async () => (await torrent()).trackers;
  const storage = fullStorage(content);
  const warnings: string[] = [];
  const client = node(t, { onWarning: (message) => warnings.push(message) });
  const seed = await client.join({ metainfo: stripped, storage, renewTrackers, signal: t.signal });
  while (outcomes(service).length < 2) await sleep(20);
  assert.deepEqual(outcomes(service), ['refused', 'accepted']);
  await seed.leave();
  assert.deepEqual(outcomes(service), ['refused', 'accepted', 'accepted'], 'stopped, too, has a token');
  assert.deepEqual(warnings, []);
});

test('a tracker that refuses fresh tokens makes one renewal and a clear message', async (t) => {
  const { content, torrent } = await served(t, 3600);
  const tracker = await startServer(t, (_, response) => {
    response.end('d14:failure reason31:unapproved request: invalid jwte');
  });
  const metainfo = await torrent();
  let renewals = 0;
  const trackers = (name: number): TrackerAddress[] => [
    new TrackerAddress(`${tracker.url}/announce?jwt=${name}`),
  ];
  const { promise: warned, resolve } = Promise.withResolvers<string>();
  const client = node(t, { onWarning: resolve });
  await client.join({
    metainfo: { ...metainfo, trackers: trackers(0) },
    storage: fullStorage(content),
    renewTrackers: () => Promise.resolve(trackers(++renewals)),
    signal: t.signal,
  });
  assert.match(
    await warned,
    /refuses a token that was made just now: its clock and the torrent service's differ/,
  );
  while (tracker.requests.length < 4) await sleep(50);
  assert.equal(renewals, 1);
});
