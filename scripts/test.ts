import { globSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';
import { COMPILE_CACHE } from '../test/helpers/quayctl.ts';
import { TestSummary } from './test-summary.ts';

/** Files that run at a time. Those that start engines want the processor and the disk; most others wait for something. */
const LANES = { engines: 2, others: 2 };
/** Of one test, milliseconds. */
const TIMEOUT_MS = 240_000;
/** What a file that starts an engine calls. */
const ENGINE = /\b(?:startDockerd|startContainerd|startPodman|defineTests)\b/;
/** Folders whose files take longest begin first, so that no long one is left alone at the end. */
const LONG = ['conformance', 'e2e', 'security', 'mirror', 'swarm', 'serve'];

process.env['NODE_COMPILE_CACHE'] ??= COMPILE_CACHE;

const files = testFiles(process.argv.slice(2));
const isEngine = (file: string): boolean => ENGINE.test(readFileSync(file, 'utf8'));
const summary = new TestSummary();
const reporter = new spec();
reporter.pipe(process.stdout);
await Promise.all([
  runLane(files.filter(isEngine), LANES.engines),
  runLane(
    files.filter((file) => !isEngine(file)),
    LANES.others,
  ),
]);
reporter.end(() => process.stdout.write(String(summary)));
const hasSkipped = summary.skipped.length > 0 && process.env['CI'] === 'true';
if (summary.failed.length > 0 || hasSkipped) process.exitCode = 1;

/** What tests say is told by file, once it is over: those of different lanes must not be mixed. */
async function runLane(mine: string[], concurrency: number): Promise<void> {
  if (mine.length === 0) return;
  let events: TestEvent[] = [];
  const tell = (): void => {
    for (const event of events) reporter.write(event);
    events = [];
  };
  const stream: AsyncIterable<TestEvent> = run({ files: mine, concurrency, timeout: TIMEOUT_MS });
  for await (const event of stream) {
    summary.take(event);
    // Sums of one lane say nothing.
    const { data } = event;
    if (data === undefined || !('file' in data) || data.file === undefined) continue;
    events.push(event);
    if (event.type === 'test:summary') tell();
  }
  tell();
}

function testFiles(places: readonly string[]): string[] {
  const found = (places.length === 0 ? ['test'] : places).flatMap((place) => {
    const isFolder = statSync(place, { throwIfNoEntry: false })?.isDirectory() === true;
    const matches = globSync(isFolder ? `${place}/**/*.test.ts` : place);
    if (matches.length === 0) throw new Error(`there is no test at ${place}`);
    return matches;
  });
  const rank = (file: string): number => {
    const at = LONG.findIndex((folder) => file.includes(`test/${folder}/`));
    return at === -1 ? LONG.length : at;
  };
  return [...new Set(found.map((file) => resolve(file)))].sort(
    (one, other) => rank(one) - rank(other) || one.localeCompare(other),
  );
}
