import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

const SLOWEST = 5;
const SLOWEST_FILES = 25;

interface Timed {
  readonly name: string;
  readonly ms: number;
}

/** What matters of a run of `node --test`: skipped and why, failed, slowest. */
export class TestSummary {
  readonly skipped: string[] = [];
  readonly failed: string[] = [];
  readonly #passed: Timed[] = [];
  /** From the start of the file's process to its end. */
  readonly #files: Timed[] = [];

  take(event: TestEvent): void {
    if (event.type === 'test:complete') {
      const { name, file = '', details } = event.data;
      if (name === file) this.#files.push({ name: relative('.', file), ms: details.duration_ms });
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') return;
    const { name, file = '', details, skip } = event.data;
    const where = `${relative('.', file)}: ${name}`;
    // Of a suite that is skipped nothing else is told.
    if (skip !== undefined && skip !== false)
      this.skipped.push(`${where} (${skip === true ? 'no reason' : skip})`);
    else if (details.type === 'suite') return;
    else if (event.type === 'test:fail') this.failed.push(where);
    else this.#passed.push({ name: where, ms: details.duration_ms });
  }

  toString(): string {
    return [
      section('Slowest files', slowest(this.#files, SLOWEST_FILES)),
      section('Slowest', slowest(this.#passed, SLOWEST)),
      section('Skipped', this.skipped),
      section('Failed', this.failed),
      `\n${this.#passed.length} passed, ${this.skipped.length} skipped, ${this.failed.length} failed\n`,
    ].join('');
  }
}

function slowest(timed: readonly Timed[], count: number): string[] {
  const sorted = timed.toSorted((a, b) => b.ms - a.ms).slice(0, count);
  return sorted.map(({ name, ms }) => `${(ms / 1000).toFixed(1)} s  ${name}`);
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `\n${title}:\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
