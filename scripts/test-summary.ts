import type { TestEvent } from 'node:test/reporters';
import { relative } from 'node:path';

const SLOWEST = 5;

/** A reporter for `node --test` that ends the run with what matters: skipped and why, failed, slowest. */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const skipped: string[] = [];
  const failed: string[] = [];
  const passed: { name: string; ms: number }[] = [];
  for await (const event of events) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, file = '', details, skip } = event.data;
    if (details.type === 'suite') continue;
    const where = `${relative('.', file)}: ${name}`;
    if (skip !== undefined && skip !== false)
      skipped.push(`${where} (${skip === true ? 'no reason' : skip})`);
    else if (event.type === 'test:fail') failed.push(where);
    else passed.push({ name: where, ms: details.duration_ms });
  }
  const slowest = passed.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST);
  yield section(
    'Slowest',
    slowest.map(({ name, ms }) => `${(ms / 1000).toFixed(1)} s  ${name}`),
  );
  yield section('Skipped', skipped);
  yield section('Failed', failed);
  yield `\n${passed.length} passed, ${skipped.length} skipped, ${failed.length} failed\n`;
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `\n${title}:\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
