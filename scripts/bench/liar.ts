import { parseArgs } from 'node:util';
import { LIARS, pullBesideLiar } from './liar-pull.ts';

const HELP = `One liar among four peers: a node downloads a blob from three seeds and a fourth peer, honest or a liar, in turn.
Each seed gives at a fixed rate, so that time is counted and not the processor; with a liar three give what four would,
so the pull of three seeds alone stands beside it.

  scripts/bench/liar [--size 64] [--rate 8] [--runs 3]

--size  of the blob, MiB        --rate  of each seed, MB/s        --runs  the median of so many, in turn
`;

const MIB = 2 ** 20;

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
      times.get(name)?.push(await pullBesideLiar(Number(values.size) * MIB, Number(values.rate) * 1e6, liar));
    }
  }
  const base = median(times.get('three seeds') ?? []);
  for (const [name, seconds] of times) {
    print(
      `${name.padEnd(18)} ${median(seconds).toFixed(2).padStart(7)} s   ${(median(seconds) / base).toFixed(3)}`,
    );
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
