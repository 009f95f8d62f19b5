import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeRow, Page, Status, SwarmDetail, SwarmRow } from '../../src/admin/status.ts';
import { decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import type { Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const SIZE = 3_000_000;
const PEER = 'ab'.repeat(20);

interface Watched {
  readonly service: TestService;
  readonly torrent: Metainfo;
  readonly size: number;
  readonly start: () => Promise<TestService>;
}

async function watched(t: Scope): Promise<Watched> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(SIZE, 'a')] }, 'team/app:1.0');
  const { digest = '', size = 0 } = image.layers[0] ?? {};
  const dataDirectory = await tempDirectory(t, 'data');
  const start = (): Promise<TestService> =>
    startService(t, {
      upstream: `oci:${layout.directory}`,
      dataDirectory,
      admin: { place: { host: '127.0.0.1', port: 0 } },
    });
  const service = await start();
  await (await fetch(`${service.url}/v2/team/app/manifests/1.0`)).bytes();
  const torrent = decodeTorrent(await (await service.torrent('team/app', digest)).bytes());
  return { service, torrent, size, start };
}

async function tell(
  { url }: TestService,
  torrent: Metainfo,
  fields: object,
  token = torrent.trackers[0]?.token?.jwt,
): Promise<{ status: number; body: { again?: number; pieces?: true } }> {
  const answer = await fetch(`${url}/c1/report`, {
    method: 'POST',
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      ...{ version: '9.9.9', peer: PEER, port: 7001, size: torrent.geometry.length },
      ...{ have: 0, fromPeers: 0, fromRegistry: 0, told: [0, 0], given: 0, seconds: 1, state: 'pulling' },
      ...fields,
    }),
  });
  return { status: answer.status, body: (await answer.json()) as { again?: number; pieces?: true } };
}

async function ask<T>({ adminUrl }: TestService, path: string): Promise<T> {
  const answer = await fetch(`${adminUrl}/api/v1/${path}`);
  assert.equal(answer.status, 200, path);
  return (await answer.json()) as T;
}

test('what nodes report is told as JSON: sums, swarm with its tag, node; once, however often it is reported', async (t) => {
  const { service, torrent, size } = await watched(t);
  await tell(service, torrent, { have: 1000, fromPeers: 400, fromRegistry: 600 });
  await tell(service, torrent, { have: 2000, fromPeers: 1000, fromRegistry: 1000, told: [400, 600] });
  const half = await ask<Page<SwarmRow>>(service, 'swarms');
  assert.deepEqual(
    half.rows.map(({ repository, tags, seeds, leeches }) => ({ repository, tags, seeds, leeches })),
    [{ repository: 'team/app', tags: ['1.0'], seeds: 0, leeches: 1 }],
  );
  assert.ok(Math.abs((half.rows[0]?.medianDone ?? 0) - 2000 / size) < 1e-9);
  const end = { have: size, fromPeers: size - 1200, fromRegistry: 1200, given: 77, state: 'done' };
  // As when its answer had been lost: the service has counted it already.
  await tell(service, torrent, { ...end, told: [1000, 1000] });
  await tell(service, torrent, { ...end, told: [1000, 1000] });
  const status = await ask<Status>(service, 'status');
  const sums = { fromPeers: size - 1200, fromRegistry: 1200 };
  assert.deepEqual({ ...status.total, since: 0 }, { ...sums, since: 0 });
  assert.deepEqual(status.day, sums);
  assert.equal(status.tracker, 'embedded');
  const { rows } = await ask<Page<NodeRow>>(service, 'nodes');
  const [node] = rows;
  assert.deepEqual(
    { ...node, id: '', seenAt: 0, reachable: '', rate: 0 },
    {
      ...{
        id: '',
        address: '127.0.0.1',
        port: 7001,
        version: '9.9.9',
        pulls: 0,
        holds: 1,
        given: 77,
        rate: 0,
      },
      ...{ names: ['team/app'], seenAt: 0, isHere: true, reachable: '', ...sums },
    },
  );
});

test('pieces are asked for while somebody has the swarm open, and for no others', async (t) => {
  const { service, torrent, size } = await watched(t);
  const { body: before } = await tell(service, torrent, { have: 1000, fromPeers: 1000 });
  assert.equal(before.pieces, undefined);
  const [row] = (await ask<Page<SwarmRow>>(service, 'swarms')).rows;
  await ask<SwarmDetail>(service, `swarms/${row?.id}`);
  const { body: asked } = await tell(service, torrent, { have: 1000, fromPeers: 1000 });
  assert.deepEqual(asked, { again: 2, pieces: true });
  const have = Buffer.alloc(Math.ceil((row?.pieces ?? 0) / 8), 0x80).toString('base64');
  const pieces = { have, fetching: [1], claimed: [2] };
  await tell(service, torrent, { have: 1000, fromPeers: 1000, pieces });
  const { members } = await ask<SwarmDetail>(service, `swarms/${row?.id}`);
  const [member] = members;
  assert.deepEqual(
    { ...member, node: '', rate: 0 },
    {
      ...{ node: '', address: '127.0.0.1:7001', done: 1000 / size, isSeed: false, rate: 0 },
      ...{ fromPeers: 1000, fromRegistry: 0, ...pieces },
    },
  );
});

test('sums, the day and the names of swarms outlive the service; who reports on is not counted twice', async (t) => {
  const { service, torrent, size, start } = await watched(t);
  await tell(service, torrent, { have: 1000, fromPeers: 400, fromRegistry: 600 });
  await service.close();
  const again = await start();
  // The token is good for the new process, too, but not its issuer, which is another port here.
  const fresh = decodeTorrent(await (await again.torrent('team/app', torrent.digest ?? '')).bytes());
  const told = [400, 600];
  await tell(again, fresh, { have: size, fromPeers: size - 700, fromRegistry: 700, told, state: 'done' });
  const status = await ask<Status>(again, 'status');
  assert.deepEqual(status.day, { fromPeers: size - 700, fromRegistry: 700 });
  assert.deepEqual({ ...status.total, since: 0 }, { fromPeers: size - 700, fromRegistry: 700, since: 0 });
  const [row] = (await ask<Page<SwarmRow>>(again, 'swarms')).rows;
  assert.equal(row?.repository, 'team/app');
});

test('a report without the token of its torrent, or that contradicts itself, is refused and counts nothing', async (t) => {
  const { service, torrent, size } = await watched(t);
  const statusOf = async (fields: object, token?: string): Promise<number> =>
    (await tell(service, torrent, fields, token)).status;
  const jwt = torrent.trackers[0]?.token?.jwt ?? '';
  for (const token of ['', 'x', `${jwt}x`, `${jwt.slice(0, 40)}A${jwt.slice(41)}`]) {
    assert.equal(await statusOf({}, token), 401, token);
  }
  const wrong: object[] = [
    { size: size + 1 },
    { size: 0 },
    { have: size + 1 },
    { have: -1 },
    { have: 1.5 },
    { fromPeers: size + 1 },
    { fromPeers: '5' },
    { fromRegistry: Number.MAX_VALUE },
    { told: [1, 2, 3] },
    { told: { 0: 1 } },
    { peer: 'zz' },
    { port: 65_536 },
    { state: 'gone' },
    { seconds: -1 },
    { version: 'a\u001b[31m' },
    { version: 'x'.repeat(41) },
    { pieces: [] },
    { pieces: { have: 'AAAA'.repeat(1000) } },
    { pieces: { have: 'A'.repeat(4), fetching: [1e9] } },
  ];
  for (const fields of wrong) assert.equal(await statusOf(fields), 400, JSON.stringify(fields).slice(0, 80));
  const deep = `{"a":${'['.repeat(5000)}`;
  const answer = await fetch(`${service.url}/c1/report`, {
    method: 'POST',
    headers: { authorization: `Bearer ${jwt}` },
    body: deep,
  });
  assert.equal(answer.status, 400);
  assert.equal(await statusOf({ extra: 'x'.repeat(70_000) }), 413);
  const { total } = await ask<Status>(service, 'status');
  assert.deepEqual([total.fromPeers, total.fromRegistry], [0, 0]);
});
