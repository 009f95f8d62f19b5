import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import type { TorrentServiceOptions } from '../../src/serve/torrent-service.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import {
  openNeighbour,
  skipWithoutNeighbour,
  type Neighbour,
  type NeighbourAnswer,
  type NeighbourRequest,
} from '../helpers/neighbour.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Asked {
  readonly service: TestService;
  readonly url: string;
  readonly token: string;
}

async function asked(
  t: TestContext,
  host: string,
  options: Partial<TorrentServiceOptions> = {},
): Promise<Asked> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const listen = { host, port: 0 };
  const service = await startService(t, { upstream: `oci:${layout.directory}`, listen, ...options });
  const answer = await service.torrent('team/app', image.layers[0]?.digest ?? '');
  const { trackers } = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
  const token = trackers[0]?.token?.jwt ?? assert.fail('no token');
  return { service, url: `${service.url}/c1/reachable`, token };
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

function post({ url, token }: Asked, body: unknown, from?: string): NeighbourRequest {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const headers = { ...bearer(token), 'content-length': String(Buffer.byteLength(text)) };
  return { url, method: 'POST', headers, body: text, ...(from === undefined ? {} : { from }) };
}

/** Accepts connections at the neighbour. @returns its port, and how many came so far */
async function listener(
  neighbour: Neighbour,
): Promise<{ readonly port: number; readonly came: () => number }> {
  const code = `require('net').createServer((s) => { console.log('came'); s.on('error', () => {}); })
    .listen(0, '::', function () { console.log('port ' + this.address().port); });`;
  const process_ = neighbour.start(process.execPath, ['-e', code]);
  const [, port] = await process_.waitFor(/^port (\d+)$/m);
  return { port: Number(port), came: () => process_.stdout().match(/^came$/gm)?.length ?? 0 };
}

const statuses = (answers: readonly NeighbourAnswer[]): number[] => answers.map(({ status }) => status);

test(
  'a node is dialled back once, at the address that it asks from, and hears whether that worked',
  { skip: skipWithoutNeighbour() },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const to = await asked(t, '::', { publicUrl: `http://[${neighbour.here6}]:1` }).then((all) => ({
      ...all,
      url: all.url.replace('[::]', neighbour.here),
    }));
    const { port, came } = await listener(neighbour);
    const [first, second, third] = neighbour.addresses;
    const answers = await neighbour.ask([
      post(to, { port }, first),
      // No other address can be named, and nothing else in the body counts.
      post(to, { port, address: neighbour.here, ip: third, host: third }, second),
      post(to, { port: port === 65_535 ? port - 1 : port + 1 }, third),
    ]);
    assert.deepEqual(statuses(answers), [200, 200, 200]);
    assert.deepEqual(
      answers.map(({ body }) => JSON.parse(body) as unknown),
      [
        { address: first, port, reachable: true },
        { address: second, port, reachable: true },
        { address: third, port: port === 65_535 ? port - 1 : port + 1, reachable: false, reason: 'refused' },
      ],
    );
    assert.equal(came(), 2);
    const six = { ...to, url: to.url.replace(neighbour.here, `[${neighbour.here6}]`) };
    const [a, b, , other] = [...neighbour.addresses6.slice(0, 2), '', neighbour.addresses6.at(-1)];
    const answers6 = await neighbour.ask([
      post(six, { port }, a),
      post(six, { port }, b),
      post(six, { port }, other),
    ]);
    // One customer's network has one attempt, whatever address of it asks.
    assert.deepEqual(statuses(answers6), [200, 429, 200]);
  },
);

test(
  'a firewall before the node is told as silence',
  { skip: skipWithout('root', 'ip', 'iptables') },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const to = await asked(t, neighbour.here);
    const { port, came } = await listener(neighbour);
    const drop = ['-A', 'INPUT', '-p', 'tcp', '--dport', String(port), '-j', 'DROP'];
    assert.equal((await neighbour.start(programPath('iptables'), drop).exited).code, 0);
    const [answer] = await neighbour.ask([post(to, { port })]);
    const read = JSON.parse(answer?.body ?? '') as { reachable: boolean; reason: string };
    assert.deepEqual([read.reachable, read.reason], [false, 'no answer']);
    assert.equal(came(), 0);
  },
);

test('floods are refused, and nobody else for them', { skip: skipWithoutNeighbour() }, async (t) => {
  const neighbour = await openNeighbour(t);
  const to = await asked(t, neighbour.here);
  const { port, came } = await listener(neighbour);
  const [first, second] = neighbour.addresses;
  const flood = Array.from({ length: 60 }, () => post(to, { port }, first));
  const answers = await neighbour.ask(flood);
  assert.equal(answers[0]?.status, 200);
  assert.deepEqual(new Set(statuses(answers.slice(1))), new Set([429]));
  assert.equal(answers[1]?.headers['retry-after'], '60');
  assert.deepEqual(statuses(await neighbour.ask([post(to, { port }, second)])), [200]);
  assert.equal(came(), 2);
});

test('without a good token, with another port or body, and from the service itself nothing is dialled', async (t) => {
  const to = await asked(t, '127.0.0.1');
  const send = (init: RequestInit, token = to.token): Promise<Response> =>
    fetch(to.url, { method: 'POST', headers: bearer(token), body: '{"port":7000}', ...init });
  for (const token of ['', 'x', `${to.token}x`, 'a'.repeat(5000), to.token.replace(/\..*\./, '.e30.')])
    assert.equal((await send({}, token)).status, 401, token.slice(0, 20));
  assert.equal((await send({ headers: {} })).status, 401);
  for (const [body, status] of [
    ['', 400],
    ['[]', 400],
    ['null', 400],
    ['{"port":"7000"}', 400],
    ['{"port":22}', 400],
    ['{"port":1023}', 400],
    ['{"port":65536}', 400],
    ['{"port":7000.5}', 400],
    ['{"port":-1}', 400],
    [`{"port":7000,"x":"${'a'.repeat(2000)}"}`, 413],
    ['{"port":7000}', 403],
  ] as const)
    assert.equal((await send({ body })).status, status, body.slice(0, 30));
  // Twenty at once are looked at; the rest is refused unread.
  for (let more = 0; more < 10; more++) await (await send({ body: '{' })).text();
  assert.equal((await send({})).status, 429);
});

test(
  'a trusted proxy is not dialled, and whom it speaks for is',
  { skip: skipWithoutNeighbour() },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const [proxy = '', node] = neighbour.addresses;
    const to = await asked(t, neighbour.here, { trustedProxies: [proxy] });
    const { port } = await listener(neighbour);
    const forwarded = post(to, { port }, proxy);
    const [own, other, loopback] = await neighbour.ask([
      forwarded,
      { ...forwarded, headers: { ...forwarded.headers, 'x-forwarded-for': `198.51.100.1, ${node}` } },
      { ...forwarded, headers: { ...forwarded.headers, 'x-forwarded-for': '127.0.0.1' } },
    ]);
    assert.equal(own?.status, 403);
    assert.deepEqual(JSON.parse(other?.body ?? ''), { address: node, port, reachable: true });
    assert.equal(loopback?.status, 403);
  },
);

test('only POST is taken', async (t) => {
  const to = await asked(t, '127.0.0.1');
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const answer = await fetch(to.url, { method, headers: bearer(to.token) });
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'POST'], method);
    assert.equal(answer.headers.get('quay-torrent'), '1');
  }
});
