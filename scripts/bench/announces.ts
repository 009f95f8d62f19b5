import { get, Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../../test/helpers/images.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { openScope } from './scope.ts';

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '500' },
    swarms: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '60' },
  },
});
const [peers, swarms, seconds] = [Number(values.peers), Number(values.swarms), Number(values.seconds)];
/** Of the phase that looks for the limit. */
const BURST_SECONDS = 5;
const CONNECTIONS = 16;

/** One simulated peer of one swarm. */
interface Membership {
  readonly query: string;
  /** Each peer has an address of its own, all of 127/8. */
  readonly localAddress: string;
}

const run = openScope();
try {
  const urls = await torrents();
  const memberships = Array.from({ length: Math.max(peers, swarms) }, (_, index) => membership(urls, index));
  await steady(memberships);
  await burst(memberships);
} finally {
  await run.end();
}

/** Announce URLs of so many torrents, from a service in a process of its own. */
async function torrents(): Promise<readonly string[]> {
  const layout = await TestLayout.create(await tempDirectory(run, 'layout'));
  const layers = Array.from({ length: swarms }, (_, index) => randomLayer(1000, `${index}`));
  const image = await layout.addImage({ layers }, 'bench/app:1.0');
  const server = await quayctlNode(run);
  const serve = server.start(['serve', '--upstream', `oci:${layout.directory}`, '--listen', '127.0.0.1:0']);
  const [base] = await serve.waitFor(/^http:\S+$/m);
  const startedAt = performance.now();
  const urls: string[] = [];
  for (const { digest } of image.layers) {
    const answer = await fetch(
      `${base}/c1/torrent/bench/app/blobs/${digest}?ns=${new URL(base).host}&wait=30`,
    );
    const { trackers, infoHash } = decodeTorrent(await answer.bytes());
    urls.push(`${trackers[0]?.announceUrl ?? ''}&info_hash=${infoHash.replace(/../g, '%$&')}`);
  }
  const took = (performance.now() - startedAt) / urls.length;
  console.log(`${urls.length} torrents, hashed and signed, ${took.toFixed(1)} ms each`);
  return urls;
}

function membership(urls: readonly string[], index: number): Membership {
  const id = `-XX0000-${String(index % peers).padStart(12, '0')}`;
  const url = urls[index % urls.length] ?? '';
  return {
    query: `${url}&peer_id=${id}&port=${6881 + (index % 9)}&left=${index % 3 === 0 ? 0 : 1000}&compact=1`,
    localAddress: `127.1.${(index % peers) >> 8}.${index & 255}`,
  };
}

/** Every peer once a second, spread evenly, each on a connection of its own as real ones are. */
async function steady(memberships: readonly Membership[]): Promise<void> {
  const latencies: number[] = [];
  const refused: string[] = [];
  const startedAt = performance.now();
  await Promise.all(
    memberships.map(async (each, index) => {
      for (let round = 0; round < seconds; round++) {
        const due = startedAt + (round + index / memberships.length) * 1000;
        await sleep(Math.max(0, due - performance.now()));
        const event = round === 0 ? '&event=started' : round === seconds - 1 ? '&event=stopped' : '';
        const sentAt = performance.now();
        const answer = await ask(each.query + event, each.localAddress).catch(
          (error: Error) => error.message,
        );
        latencies.push(performance.now() - sentAt);
        if (!answer.startsWith('d8:complete')) refused.push(answer);
      }
    }),
  );
  const took = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (part: number): string => (latencies[Math.floor((latencies.length - 1) * part)] ?? 0).toFixed(1);
  console.log(
    `${peers} peers, ${swarms} swarms, ${took.toFixed(0)} s: ${latencies.length} announces ` +
      `(${(latencies.length / took).toFixed(0)} a second), ${refused.length} refused${refused[0] === undefined ? '' : `: ${refused[0].slice(0, 80)}`}`,
  );
  console.log(`latency: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, 99 % ${at(0.99)} ms, longest ${at(1)} ms`);
}

function ask(url: string, localAddress: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { localAddress, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks).toString('latin1')));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

/** As many as the tracker takes, on a few connections that stay open. */
async function burst(memberships: readonly Membership[]): Promise<void> {
  const end = performance.now() + BURST_SECONDS * 1000;
  const counts = await Promise.all(
    Array.from({ length: CONNECTIONS }, async (_, connection) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      let count = 0;
      for (let index = connection; performance.now() < end; index += CONNECTIONS) {
        const each = memberships[index % memberships.length];
        if (each === undefined) break;
        await keptAlive(each.query, agent, `127.2.0.${connection + 1}`);
        count++;
      }
      agent.destroy();
      return count;
    }),
  );
  const total = counts.reduce((sum, count) => sum + count, 0);
  console.log(`at most: ${(total / BURST_SECONDS).toFixed(0)} announces a second, one core for the tracker`);
}

function keptAlive(url: string, agent: Agent, localAddress: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent, localAddress }, (response) => {
      response.resume();
      response.on('end', resolve);
    }).on('error', reject);
  });
}
