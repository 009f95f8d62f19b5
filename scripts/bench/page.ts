import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Http } from '../../src/http/http.ts';
import { decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { sendReport, type LayerReport } from '../../src/registry/service-reports.ts';
import { openBrowser, openPage } from '../../test/helpers/browser.ts';
import { randomLayer, TestLayout } from '../../test/helpers/images.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { openScope } from './scope.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '5000' },
    swarms: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '30' },
  },
});
const NODES = Number(values.nodes);
const SWARMS = Number(values.swarms);
const SECONDS = Number(values.seconds);
const LAYERS_OF_IMAGE = 50;
const LAYER_BYTES = 20_000;
const AT_ONCE = 50;
const TICKS_PER_SECOND = 100;
const FEW = 8;
let shared: Http | undefined;

const scope = openScope();
try {
  await measure();
} finally {
  await scope.end();
}
process.exit(0);

async function measure(): Promise<void> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
  const digests: string[] = [];
  for (let image = 0; image * LAYERS_OF_IMAGE < SWARMS; image++) {
    const count = Math.min(LAYERS_OF_IMAGE, SWARMS - digests.length);
    const specs = Array.from({ length: count }, (_, at) => randomLayer(LAYER_BYTES, `${image} ${at}`));
    const { layers } = await layout.addImage({ layers: specs }, `team/app${image}:1.0`);
    digests.push(...layers.map(({ digest }) => digest));
  }
  const node = await quayctlNode(scope);
  const socket = await freePort();
  const serve = node.start([
    ...['serve', '--upstream', `oci:${layout.directory}`, '--listen', '127.0.0.1:0'],
    ...['--admin-listen', `127.0.0.1:${socket}`],
  ]);
  const [url] = await serve.waitFor(/^http:\S+$/m);
  const torrents = await inTurns(digests, async (digest, at): Promise<Metainfo> => {
    const repository = `team/app${Math.floor(at / LAYERS_OF_IMAGE)}`;
    const host = new URL(url).host;
    const answer = await fetch(`${url}/c1/torrent/${repository}/blobs/${digest}?ns=${host}&wait=60`);
    return decodeTorrent(await answer.bytes());
  });
  const browser = await openBrowser(scope);
  const admin = `http://127.0.0.1:${socket}/`;

  const first = torrents[0] as Metainfo;
  const few = (): Promise<unknown> =>
    Promise.all(Array.from({ length: FEW }, (_, at) => report(new URL(url), first, at)));
  await few();
  const { page, context } = await openPage(browser, admin, { width: 1440 });
  await page.locator('.opener').first().click();
  await page.locator('.members li').first().waitFor();
  const before = await ticksOf(serve.pid);
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end; await sleep(2000)) await few();
  const share = (await ticksOf(serve.pid)) - before;
  say(
    `processor time of the service, page and swarm open, ${FEW} nodes report each 2 s: ${((100 * share) / TICKS_PER_SECOND / SECONDS).toFixed(1)} % of a core`,
  );
  await context.close();
  say(`a report without pieces: ${await bytesOfReport(first)} bytes with its headers`);

  const memory = await residentBytes(serve.pid);
  await inTurns(Array.from({ length: NODES }), async (_, at) => {
    const torrent = torrents[at % torrents.length] as Metainfo;
    const hash = torrent.infoHash.replaceAll(/../g, '%$&');
    const left = at % 3 === 0 ? 0 : LAYER_BYTES / 2;
    const query = `info_hash=${hash}&peer_id=${peer(at).slice(0, 20)}&port=${1024 + (at % 60_000)}&left=${left}&uploaded=0&downloaded=0&compact=1`;
    await (await fetch(`${torrent.trackers[0]?.announceUrl ?? ''}&${query}`)).bytes();
  });
  const begun = Date.now();
  const full = await openPage(browser, admin, { width: 1440 });
  await full.page.locator('.layer').first().waitFor();
  const seen = Date.now() - begun;
  const painted = await full.page.evaluate<number>(
    `performance.getEntriesByName('first-contentful-paint')[0].startTime`,
  );
  const grown = (await residentBytes(serve.pid)) - memory;
  const now = await full.page.locator('#now').innerText();
  say(
    `${NODES} nodes in ${SWARMS} swarms: first paint after ${Math.round(painted)} ms, rows after ${seen} ms; memory of the service grew by ${(grown / 1e6).toFixed(1)} MB`,
  );
  say(now.replaceAll(/\s+/g, ' '));
}

function report(base: URL, torrent: Metainfo, at: number): Promise<unknown> {
  const token = torrent.trackers[0]?.token;
  if (token === undefined) throw new Error('no token');
  const { length: size, pieceCount } = torrent.geometry;
  const have = Buffer.alloc(Math.ceil(pieceCount / 8)).toString('base64');
  const body: LayerReport = {
    ...{ version: '0.1.0', peer: peer(at), port: 20_000 + at, size, have: size >> 1, fromPeers: size >> 2 },
    ...{ fromRegistry: size >> 2, told: [0, 0], given: 0, seconds: 12.3, state: 'pulling' },
    pieces: { have, fetching: [], claimed: [] },
  };
  return sendReport(http(), base, { token, report: body }, { signal: AbortSignal.timeout(20_000) });
}

/** As it goes over the wire. */
async function bytesOfReport(torrent: Metainfo): Promise<number> {
  const token = torrent.trackers[0]?.token;
  if (token === undefined) throw new Error('no token');
  let bytes = 0;
  const answer = '{"again":15}';
  const server = createServer((connection) => {
    connection.on('data', (chunk) => {
      bytes += chunk.length;
      if (chunk.toString().endsWith('}'))
        connection.end(`HTTP/1.1 200 OK\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`);
    });
  }).listen(0, '127.0.0.1');
  scope.after(() => void server.close());
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as AddressInfo;
  const body: LayerReport = {
    ...{ version: '0.1.0', peer: peer(1), port: 6881, size: 123_456_789, have: 123_456_789 },
    ...{ fromPeers: 103_456_789, fromRegistry: 20_000_000, told: [53_456_789, 10_000_000] },
    ...{ given: 98_765_432, seconds: 123.4, state: 'done' },
  };
  const base = new URL(`http://127.0.0.1:${port}`);
  await sendReport(http(), base, { token, report: body }, { signal: AbortSignal.timeout(20_000) });
  return bytes;
}

function http(): Http {
  if (shared === undefined) {
    const door = (shared = new Http({ env: {}, certsDirectory: '/nonexistent' }));
    scope.after(() => door.close());
  }
  return shared;
}

async function inTurns<T, R>(items: readonly T[], work: (item: T, at: number) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    done.push(
      ...(await Promise.all(items.slice(at, at + AT_ONCE).map((item, each) => work(item, at + each)))),
    );
  }
  return done;
}

function peer(at: number): string {
  return createHash('sha1').update(`peer ${at}`).digest('hex');
}

async function ticksOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function residentBytes(pid: number): Promise<number> {
  const [, kilobytes = '0'] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
