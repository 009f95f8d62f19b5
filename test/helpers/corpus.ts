import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/base/errors.ts';
import { neverBreaks } from './fuzz.ts';

/** A parser of foreign bytes under fuzzing: its corpus is mutated, and what comes out goes in. */
export interface FuzzedParser {
  /** In `test/fixtures/corpus`: `NAME.txt`, a seed on each line, or the folder `NAME`, a seed in each file. */
  readonly corpus: string;
  /** What is put in beside random bytes: the words of its grammar. */
  readonly pieces?: readonly string[];
  /** The only codes with which it may refuse; none: it refuses in its answer, and never throws. */
  readonly codes: readonly ErrorCode[];
  /** What it accepts it also checks: printed and parsed again, it is the same. */
  readonly parse: (bytes: Buffer) => unknown;
}

const CORPUS = join(import.meta.dirname, '../fixtures/corpus');
/** No error has this code: a parser whose `codes` are empty throws nothing at all. */
const NOTHING = ['internal'] as const;

/** JSON's own words, and those that JSON readers stumble over. */
export const JSON_PIECES = [
  'null',
  '[]',
  '{}',
  '-1',
  '1e999',
  '"',
  '\\u0000',
  '9007199254740993',
  '\xff',
  '[[[[',
];

/** One test for each parser: the corpus itself, then its mutants. Latin-1 texts, so that every byte can come. */
export function fuzzParsers(parsers: Readonly<Record<string, FuzzedParser>>): void {
  for (const [name, { corpus, pieces = [], codes, parse }] of Object.entries(parsers)) {
    test(`fuzz ${name}: whatever comes is parsed or refused, soon and in bounded memory`, async (t) => {
      const seeds = readCorpus(corpus);
      let next = 0;
      const words = pieces.map((piece) => Buffer.from(piece, 'latin1'));
      await neverBreaks(
        t,
        (random) => Buffer.from(seeds[next++] ?? random.mutate(random.pick(seeds), words)),
        parse,
        { codes: codes.length === 0 ? NOTHING : codes },
      );
    });
  }
}

/** In a text corpus `\n` stands for a line break. */
function readCorpus(name: string): Buffer[] {
  const folder = join(CORPUS, name);
  const files = readdirSync(CORPUS).includes(name) ? readdirSync(folder) : undefined;
  if (files !== undefined) return files.map((file) => readFileSync(join(folder, file)));
  const lines = readFileSync(`${folder}.txt`, 'latin1').trimEnd().split('\n');
  return lines.map((line) => Buffer.from(line.replaceAll('\\n', '\n'), 'latin1'));
}
