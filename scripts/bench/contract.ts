import { readFile, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROWS, type Figure } from './contract-rows.ts';
import { openScope } from './scope.ts';

const HELP = `What quayctl promises about time and bytes: each row is measured, beside skopeo where it is about a direct
pull, in turn, and the medians are held against what the row allows. Exit code 1 when a row exceeds its figure.

  scripts/bench/contract [--rows NAME,...] [--runs 3] [--write]

--rows    of ${Object.keys(ROWS).join(', ')};
          default: all but alone-60-long, which takes ten minutes a pair
--write  put the rows into docs/benchmarks.md, with the date; rows that were not run stay as they are
Needs root, ip, tc, docker-registry and skopeo.
`;

const DOCUMENT = join(import.meta.dirname, '../../docs/benchmarks.md');
const [BEGIN, END] = ['<!-- contract: begin -->', '<!-- contract: end -->'];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: {
        type: 'string',
        default: Object.keys(ROWS)
          .filter((name) => !name.endsWith('-long'))
          .join(','),
      },
      runs: { type: 'string', default: '3' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const lines: string[] = [];
  for (const name of values.rows.split(',')) {
    const row = ROWS[name];
    if (row === undefined) throw new Error(`no row ${name}; there are ${Object.keys(ROWS).join(', ')}`);
    const scope = openScope();
    try {
      for await (const figure of row(scope, Number(values.runs))) {
        const line = shown(figure);
        lines.push(line);
        process.stdout.write(`${line}\n`);
        if (!(figure.value <= figure.most)) process.exitCode = 1;
      }
    } finally {
      await scope.end();
    }
  }
  if (values.write) await writeReadme(lines);
}

function shown({ what, value, most, unit, from }: Figure): string {
  const text = (number: number): string =>
    ({
      times: `${number.toFixed(3)} ×`,
      seconds: `${number.toFixed(2)} s`,
      percent: `${number.toFixed(1)} %`,
    })[unit];
  const verdict = value <= most ? 'holds' : '**exceeded**';
  const today = new Date().toISOString().slice(0, 10);
  return `| ${[what, text(value), text(most), verdict, from, today, (loadavg()[0] ?? 0).toFixed(1)].join(' | ')} |`;
}

/** Rows of the same name are replaced, others added. */
async function writeReadme(lines: readonly string[]): Promise<void> {
  const readme = await readFile(DOCUMENT, 'utf8');
  const [before = '', rest] = readme.split(BEGIN);
  const [table = '', after] = (rest ?? '').split(END);
  if (after === undefined) throw new Error(`docs/benchmarks.md has no ${BEGIN} ... ${END}`);
  const nameOf = (line: string): string => line.split('|')[1]?.trim() ?? '';
  const rows = new Map(
    [...table.split('\n').filter((line) => /^\| .*\d{4}-\d\d-\d\d/.test(line)), ...lines].map((line) => [
      nameOf(line),
      line,
    ]),
  );
  const head = `| row (${cpus().length} cores) | measured | at most | | medians | date | load |\n| --- | --- | --- | --- | --- | --- | --- |`;
  await writeFile(
    DOCUMENT,
    `${before}${BEGIN}\n\n${head}\n${[...rows.values()].join('\n')}\n\n${END}${after}`,
  );
}

await main();
