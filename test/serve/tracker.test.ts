import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { decodeBencode, isDictionary, type BDictionary } from '../../src/metainfo/bencode.ts';
import { decodeTorrent, type InfoHash } from '../../src/metainfo/metainfo.ts';
import { plainAddress } from '../../src/base/ip-address.ts';
import { peerAddress } from '../../src/serve/tracker/address.ts';
import { PeerList, type Announcement } from '../../src/serve/tracker/peer-list.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import type { TorrentServiceOptions } from '../../src/serve/torrent-service.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Swarm {
  readonly infoHash: InfoHash;
  readonly token: string;
}

interface Tracked {
  readonly service: TestService;
  readonly swarm: Swarm;
  readonly layout: TestLayout;
}

async function tracked(
  t: TestContext,
  host = '127.0.0.1',
  options: Partial<TorrentServiceOptions> = {},
): Promise<Tracked> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const listen = { host, port: 0 };
  const service = await startService(t, {
    upstream: `oci:${layout.directory}`,
    listen,
    publicUrl: 'http://service',
    ...options,
  });
  const answer = await service.torrent('team/app', image.layers[0]?.digest ?? '', { ns: 'service' });
  return { service, layout, swarm: await swarmOf(answer) };
}

async function swarmOf(answer: Response): Promise<Swarm> {
  const { infoHash, trackers } = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
  return { infoHash, token: new URL(trackers[0]?.announceUrl ?? '').searchParams.get('jwt') ?? '' };
}

const escaped = (hex: string): string => hex.replace(/../g, '%$&');
const peerId = (name: string): string => `-XX0000-${name.padEnd(12, '0')}`;

async function ask(base: string, path: string): Promise<BDictionary> {
  const answer = await fetch(`${base}${path}`);
  assert.equal(answer.status, 200);
  const decoded = decodeBencode(Buffer.from(await answer.arrayBuffer()));
  assert.ok(isDictionary(decoded));
  return decoded;
}

function announce(
  base: string,
  { infoHash, token }: Swarm,
  fields: Readonly<Record<string, string | number>>,
): Promise<BDictionary> {
  const query = { port: 7000, left: 100, compact: 1, ...fields };
  const rest = Object.entries(query).map(([name, value]) => `${name}=${value}`);
  return ask(base, `/announce?info_hash=${escaped(infoHash)}&${rest.join('&')}&jwt=${token}`);
}

/** `address:port` of compact peers (BEP 23, BEP 7). */
function peers(answer: BDictionary, field: 'peers' | 'peers6' = 'peers'): string[] {
  const bytes = answer.entries.get(field);
  assert.ok(bytes instanceof Uint8Array);
  const step = field === 'peers' ? 6 : 18;
  return Array.from({ length: bytes.length / step }, (_, at) => {
    const one = Buffer.from(bytes.subarray(at * step, (at + 1) * step));
    const port = one.readUInt16BE(step - 2);
    if (step === 6) return `${one.subarray(0, 4).join('.')}:${port}`;
    return `${one.subarray(0, 16).toString('hex')}:${port}`;
  }).sort();
}

const failure = (answer: BDictionary): string => {
  const reason = answer.entries.get('failure reason');
  return reason instanceof Uint8Array ? Buffer.from(reason).toString() : 'none';
};

test('peers of one swarm hear of each other, not of themselves, and seeds not of seeds', async (t) => {
  const { service, swarm } = await tracked(t);
  const tell = (name: string, port: number, left: number, more = {}): Promise<BDictionary> =>
    announce(service.url, swarm, { peer_id: peerId(name), port, left, ...more });
  assert.deepEqual(peers(await tell('a', 7001, 100, { event: 'started' })), []);
  assert.deepEqual(peers(await tell('b', 7002, 0)), ['127.0.0.1:7001']);
  assert.deepEqual(peers(await tell('c', 7003, 0)), ['127.0.0.1:7001']);
  const answer = await tell('a', 7001, 100);
  assert.deepEqual(peers(answer), ['127.0.0.1:7002', '127.0.0.1:7003']);
  assert.deepEqual(
    ['complete', 'incomplete', 'interval'].map((name) => answer.entries.get(name)),
    [2, 1, 30],
  );
  assert.equal(peers(await tell('a', 7001, 100, { numwant: 1 })).length, 1);

  assert.deepEqual(peers(await tell('b', 7002, 0, { event: 'stopped' })), []);
  assert.deepEqual(peers(await tell('a', 7001, 100)), ['127.0.0.1:7003']);
  assert.deepEqual(peers(await tell('d', 7004, 100, { event: 'completed' })).length, 2);
});

test('peers are told in compact form, whatever was asked for', async (t) => {
  const { service, swarm } = await tracked(t);
  await announce(service.url, swarm, { peer_id: peerId('a'), port: 7001 });
  const answer = await announce(service.url, swarm, { peer_id: peerId('b'), port: 7002, compact: 0 });
  assert.deepEqual(peers(answer), ['127.0.0.1:7001']);
});

test('tokens outlive a restart; another service knows neither them nor the swarm', async (t) => {
  const { service, swarm, layout } = await tracked(t);
  await service.close();
  const options = { upstream: `oci:${layout.directory}`, publicUrl: 'http://service' };
  const again = await startService(t, { ...options, dataDirectory: service.data });
  assert.equal(failure(await announce(again.url, swarm, { peer_id: peerId('a') })), 'none');
  const elsewhere = await startService(t, options);
  const refused = await announce(elsewhere.url, swarm, { peer_id: peerId('a') });
  assert.equal(failure(refused), 'unapproved request: invalid jwt');
});

test('hostile announces are refused with a reason', async (t) => {
  const { service, swarm } = await tracked(t);
  const hash = `jwt=${swarm.token}&info_hash=${escaped(swarm.infoHash)}`;
  const id = `peer_id=${peerId('a')}`;
  for (const query of [
    '',
    'info_hash=short',
    `${hash}&port=7000`,
    `${hash}&${id}`,
    `${hash}&${id}&port=0`,
    `${hash}&${id}&port=70000`,
    `${hash}&${id}&port=x`,
    `${hash}&${hash}&${id}&port=7000`,
    `${hash}&${id}&${id}&port=7000`,
    `${hash}&${id}&port=7000&event=exploded`,
    `${hash}&${id}&port=7000&event=started&event=stopped`,
    `${hash}&__proto__=x&${id}&port=-1`,
  ]) {
    assert.notEqual(failure(await ask(service.url, `/announce?${query}`)), 'none', query);
  }
  for (const numwant of ['-1', '999999999', 'x', '0']) {
    const answer = await announce(service.url, swarm, { peer_id: peerId('b'), numwant, left: 'x' });
    assert.equal(failure(answer), 'none', numwant);
  }
});

test('a scrape is answered to the holder of a token, for his own swarm only (BEP 48)', async (t) => {
  const { service, swarm, layout } = await tracked(t);
  await announce(service.url, swarm, { peer_id: peerId('a'), left: 0, event: 'completed' });
  await announce(service.url, swarm, { peer_id: peerId('b') });
  const image = await layout.addImage({ layers: [randomLayer(1000, 'other')] }, 'team/app:2.0');
  const other = await swarmOf(await service.torrent('team/app', image.layers[0]?.digest ?? ''));
  const own = `info_hash=${escaped(swarm.infoHash)}`;
  for (const [query, reason] of [
    ['', 'unapproved request: missing jwt'],
    [own, 'unapproved request: missing jwt'],
    [`jwt=${swarm.token}`, 'unapproved request: invalid jwt'],
    [`jwt=${other.token}&${own}`, 'unapproved request: invalid jwt'],
    [`jwt=${swarm.token}&${own}&info_hash=${escaped(other.infoHash)}`, 'unapproved request: invalid jwt'],
    [`jwt=${swarm.token}&jwt=${swarm.token}&${own}`, 'unapproved request: invalid jwt'],
  ] as const) {
    assert.equal(failure(await ask(service.url, `/scrape?${query}`)), reason, query);
  }
  const answer = await fetch(`${service.url}/scrape?jwt=${swarm.token}&${own}`);
  const key = Buffer.concat([Buffer.from('d5:filesd20:'), Buffer.from(swarm.infoHash, 'hex')]);
  const counts = Buffer.from('d8:completei1e10:downloadedi1e10:incompletei1eeee');
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), Buffer.concat([key, counts]));
});

test('no statistics are served', async (t) => {
  const { service } = await tracked(t);
  for (const path of ['/stats', '/stats.json'])
    assert.equal((await fetch(`${service.url}${path}`)).status, 404);
});

test('a client that announces too often is refused, others are not', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, {
    upstream: `oci:${layout.directory}`,
    announceLimit: { perSecond: 0.001, burst: 3 },
    trustedProxies: ['127.0.0.0/8'],
  });
  const swarm = await swarmOf(await service.torrent('team/app', image.layers[0]?.digest ?? ''));
  const query = `info_hash=${escaped(swarm.infoHash)}&peer_id=${peerId('a')}&port=1&jwt=${swarm.token}`;
  const from = async (client: string): Promise<string> => {
    const headers = { 'x-forwarded-for': client };
    const answer = await fetch(`${service.url}/announce?${query}`, { headers });
    const decoded = decodeBencode(Buffer.from(await answer.arrayBuffer()));
    assert.ok(isDictionary(decoded));
    return failure(decoded);
  };
  for (let round = 0; round < 3; round++) assert.equal(await from('192.0.2.1'), 'none');
  assert.equal(await from('192.0.2.1'), 'too many announces from this address');
  assert.equal(await from('192.0.2.2'), 'none');
});

test('with an external tracker the own one stays off', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [] }, 'team/app:1.0');
  const announce_ = 'http://tracker.example/announce';
  const service = await startService(t, { upstream: `oci:${layout.directory}`, announce: announce_ });
  const answer = await service.torrent('team/app', image.config.digest);
  const [tracker] = decodeTorrent(Buffer.from(await answer.arrayBuffer())).trackers;
  assert.equal(tracker?.key, announce_);
  assert.equal((await fetch(`${service.url}/announce`)).status, 404);
});

const fromElsewhere = { skip: skipWithoutNeighbour() };

test('from elsewhere a peer is listed at its own address, whatever it names', fromElsewhere, async (t) => {
  const neighbour = await openNeighbour(t);
  const { service, swarm } = await tracked(t, '0.0.0.0');
  const url = `http://${neighbour.here}:${new URL(service.url).port}`;
  const query = (name: string, more: string): string =>
    `/announce?info_hash=${escaped(swarm.infoHash)}&peer_id=${peerId(name)}&left=0&compact=1&jwt=${swarm.token}&${more}`;
  const [own = ''] = neighbour.addresses;
  const named = [
    '203.0.113.9',
    'fd00:ec2::254',
    '100.100.100.200',
    '64:ff9b::a9fe:a9fe',
    '127.0.0.1',
    '169.254.169.254',
  ];
  const answers = await neighbour.ask(
    named.map((ip, at) => ({ url: url + query(`n${at}`, `port=${7000 + at}&ip=${ip}`), from: own })),
  );
  assert.ok(
    answers.every(({ body }) => body.includes('warning message')),
    answers[0]?.body,
  );
  const listed = await announce(service.url, swarm, { peer_id: peerId('me'), port: 6999, left: 100 });
  assert.deepEqual(
    peers(listed),
    named.map((_, at) => `${own}:${7000 + at}`),
  );
  assert.deepEqual(peers(listed, 'peers6'), []);
});

test(
  'of networks that --announce-from names, and of loopback, another address is believed',
  fromElsewhere,
  async (t) => {
    const neighbour = await openNeighbour(t);
    const [believed = '', other = ''] = neighbour.addresses;
    const { service, swarm } = await tracked(t, '0.0.0.0', { announceFrom: [`${believed}/32`] });
    const url = `http://${neighbour.here}:${new URL(service.url).port}`;
    const path = `/announce?info_hash=${escaped(swarm.infoHash)}&left=0&compact=1&jwt=${swarm.token}&ip=203.0.113.9`;
    await neighbour.ask([
      { url: `${url}${path}&peer_id=${peerId('a')}&port=7001`, from: believed },
      { url: `${url}${path}&peer_id=${peerId('b')}&port=7002`, from: other },
    ]);
    await announce(service.url, swarm, { peer_id: peerId('c'), port: 7003, left: 0, ip: '203.0.113.8' });
    assert.deepEqual(
      peers(await announce(service.url, swarm, { peer_id: peerId('d'), port: 7004 })),
      [`${other}:7002`, '203.0.113.8:7003', '203.0.113.9:7001'].toSorted(),
    );
    // A loopback address is told to loopback only.
    await announce(service.url, swarm, { peer_id: peerId('e'), port: 7005, left: 0 });
    const [seen] = await neighbour.ask([
      { url: `${url}${path}&peer_id=${peerId('f')}&port=7006`, from: other },
    ]);
    assert.equal(seen?.body.includes('\u007f\u0000\u0000\u0001'), false);
  },
);

test(
  'twelve addresses of one IPv6 network are one site: a flood does not push the honest seed out',
  fromElsewhere,
  async (t) => {
    const neighbour = await openNeighbour(t);
    const { service, swarm } = await tracked(t, '::', { announceLimit: { perSecond: 1, burst: 100 } });
    await announce(service.url.replace('[::]', '127.0.0.1'), swarm, {
      peer_id: peerId('seed'),
      port: 7001,
      left: 0,
    });
    const url = `http://[${neighbour.here6}]:${new URL(service.url).port}`;
    const path = `/announce?info_hash=${escaped(swarm.infoHash)}&compact=1&port=7002&jwt=${swarm.token}`;
    const flood = Array.from({ length: 150 }, (_, at) => ({
      url: `${url}${path}&peer_id=${peerId(`f${at}`)}`,
      from: neighbour.addresses6[at % 12] ?? '',
    }));
    const answers = await neighbour.ask(flood);
    const limited = answers.filter(({ body }) => body.includes('too many announces')).length;
    assert.ok(limited >= 40, `${limited} of 150 were limited`);
    const other = neighbour.addresses6.at(-1) ?? '';
    const [answer] = await neighbour.ask([{ url: `${url}${path}&peer_id=${peerId('z')}`, from: other }]);
    assert.doesNotMatch(answer?.body ?? '', /too many/);
  },
);

test('IPv6 peers are told as BEP 7 has it', async (t) => {
  const { service, swarm } = await tracked(t);
  await announce(service.url, swarm, { peer_id: peerId('a'), port: 7001, ip: '2001:db8::1' });
  const answer = await announce(service.url, swarm, { peer_id: peerId('b'), port: 7002 });
  assert.deepEqual(peers(answer, 'peers6'), ['20010db8000000000000000000000001:7001']);
});

test('a peer is listed where it can be', () => {
  for (const [source, named, wanted] of [
    ['192.0.2.1', undefined, '192.0.2.1'],
    ['192.0.2.1', '192.0.2.9', '192.0.2.9'],
    ['192.0.2.1', '10.1.2.3', '10.1.2.3'],
    ['192.0.2.1', '::ffff:10.1.2.3', '10.1.2.3'],
    ['192.0.2.1', '2001:DB8::9', '2001:db8::9'],
    ['192.0.2.1', '127.0.0.1', '192.0.2.1'],
    ['192.0.2.1', '::ffff:127.0.0.1', '192.0.2.1'],
    ['192.0.2.1', '::1', '192.0.2.1'],
    ['127.0.0.1', '127.0.0.9', '127.0.0.9'],
    ['192.0.2.1', '0.0.0.0', '192.0.2.1'],
    ['192.0.2.1', '::', '192.0.2.1'],
    ['192.0.2.1', '255.255.255.255', '192.0.2.1'],
    ['192.0.2.1', '224.0.0.1', '192.0.2.1'],
    ['192.0.2.1', '169.254.169.254', '192.0.2.1'],
    ['192.0.2.1', 'fe80::1%eth0', '192.0.2.1'],
    ['192.0.2.1', 'ff02::1', '192.0.2.1'],
    ['192.0.2.1', 'victim.example', '192.0.2.1'],
    ['192.0.2.1', '', '192.0.2.1'],
  ] as const) {
    assert.equal(
      peerAddress(source, named, () => true),
      wanted,
      named,
    );
    assert.equal(
      peerAddress(source, named, () => false),
      source,
      'not believed',
    );
  }
  assert.equal(plainAddress('::ffff:192.0.2.1'), '192.0.2.1');
});

test('peers that do not come back are dropped, and nobody can fill or empty a swarm', () => {
  const peer = (name: string, source = '192.0.2.1', more: Partial<Announcement> = {}): Announcement => ({
    peerId: name,
    source,
    ip: source,
    port: 7000,
    complete: false,
    expires: 100,
    ...more,
  });
  const list = new PeerList();
  list.add(peer('a'));
  list.add(peer('b', '192.0.2.2', { expires: 200 }));
  list.expire(99);
  assert.equal(list.size, 2);
  list.expire(100);
  assert.deepEqual(
    list.others(peer('x'), 10).map(({ peerId: id }) => id),
    ['b'],
  );

  // The same peer id from elsewhere is somebody else.
  list.remove(peer('b', '192.0.2.66'));
  assert.equal(list.size, 1);

  for (let at = 0; at < 3000; at++) list.add(peer(`flood${at}`, '192.0.2.3', { port: at + 1 }));
  assert.equal(list.size, 501);
  for (let at = 0; at < 9000; at++) list.add(peer('one', `10.0.${at >> 8}.${at & 255}`));
  assert.equal(list.size, 5000);
  // The flood of one site made room for the others.
  assert.ok(list.others(peer('x'), 5000).filter(({ source }) => source === '192.0.2.3').length < 10);

  const crowded = new PeerList();
  crowded.add(peer('honest', '192.0.2.1', { complete: true }));
  for (let at = 0; at < 6000; at++)
    crowded.add(peer(`p${at}`, `2001:db8::${(at % 12) + 1}`, { port: at + 1 }));
  for (let at = 0; at < 6000; at++)
    crowded.add(peer(`q${at}`, `10.1.${at % 200}.1`, { subject: 'one account' }));
  assert.equal(crowded.size, 1 + 500 + 2500);
  assert.ok(crowded.others(peer('x'), 5000).some(({ peerId: id }) => id === 'honest'));
  assert.equal(list.others(peer('x', '192.0.2.200'), 50).length, 50);
  // An address that is listed twice is told once.
  const twice = new PeerList();
  twice.add(peer('a', '192.0.2.1', { ip: '192.0.2.9' }));
  twice.add(peer('b', '192.0.2.2', { ip: '192.0.2.9' }));
  assert.equal(twice.others(peer('x'), 10).length, 1);
});
