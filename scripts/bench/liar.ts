import { parseArgs } from 'node:util';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { busy, lying, refusing, silent, startLiar, type Behaviour } from '../../test/helpers/liar.ts';
import type { Scope } from '../../test/helpers/processes.ts';
import { emptyStorage, fullStorage, node, sample, startTracker } from '../../test/swarm/kit.ts';

const HELP = `One liar among four peers: a node downloads a blob from three seeds and a fourth peer, honest or a liar, in turn.
Each seed gives at a fixed rate, so that time is counted and not the processor; with a liar three give what four would,
so the pull of three seeds alone stands beside it.

  scripts/bench/liar [--size 64] [--rate 8] [--runs 3]

--size  of the blob, MiB        --rate  of each seed, MB/s        --runs  the median of so many, in turn
`;

const SEEDS = 3;
const MIB = 2 ** 20;
const LIARS: Readonly<Record<string, Behaviour | undefined>> = {
  'three seeds': undefined,
  '+ wrong blocks': lying,
  '+ stalls': silent,
  '+ signs of life': busy,
  '+ refusals': refusing,
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      size: { type: 'string', default: '64' },
      rate: { type: 'string', default: '8' },
      runs: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return print(HELP);
  const times = new Map<string, number[]>(Object.keys(LIARS).map((name) => [name, []]));
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [name, liar] of Object.entries(LIARS)) {
      times.get(name)?.push(await pull(Number(values.size) * MIB, Number(values.rate) * 1e6, liar));
    }
  }
  const base = median(times.get('three seeds') ?? []);
  for (const [name, seconds] of times) {
    print(
      `${name.padEnd(18)} ${median(seconds).toFixed(2).padStart(7)} s   ${(median(seconds) / base).toFixed(3)}`,
    );
  }
}

async function pull(size: number, rate: number, liar: Behaviour | undefined): Promise<number> {
  const ends: (() => void | Promise<void>)[] = [];
  const scope: Scope = { after: (end) => void ends.push(end) };
  try {
    const { url } = await startTracker(scope);
    const { content, metainfo } = sample(size, [url]);
    const signal = new AbortController().signal;
    for (let seeds = 0; seeds < SEEDS; seeds++) {
      const seed = node(scope, { uploadLimiter: createRateLimiter(rate) });
      await seed.join({ metainfo, storage: fullStorage(content), signal });
    }
    if (liar !== undefined) await startLiar(scope, url, metainfo, liar);
    const startedAt = performance.now();
    const storage = emptyStorage(size);
    const swarm = await node(scope, { encryptionMode: 2 }).join({ metainfo, storage, signal });
    await swarm.done;
    const seconds = (performance.now() - startedAt) / 1000;
    if (!storage.bytes.equals(content)) throw new Error('other bytes than the blob');
    return seconds;
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
