import { open, type FileHandle } from 'node:fs/promises';
import type { Span } from './blob-store.ts';
import { readBounded, replacePrivateFile } from './disk.ts';
import { SpanSet } from './spans.ts';

/** 16 TiB in pieces of 16 MiB, each with a line, several times over; we rewrite ours long before. */
const MAX_JOURNAL_BYTES = 64 * 1024 * 1024;
/** So many lines more than there are spans, and the record is written anew. */
const SLACK_LINES = 16 * 1024;
const LINE = /^([+-])(\d{1,16}) (\d{1,16})$/;

/**
 * The record of what is written of a partial blob. Lines are appended (`+start end`, `-start end`); a kill leaves at
 * most a torn last line, which is not believed. First line: the size of the blob, so that another size starts over.
 */
export class Journal {
  readonly #path: string;
  readonly #temporary: string;
  readonly #size: number;
  #handle: FileHandle;
  #lines: number;
  #queue: string[] = [];
  /** The write that will take what is queued; undefined until there is something. */
  #next: Promise<void> | undefined;
  /** Everything before it is written or has failed. */
  #settled: Promise<void> = Promise.resolve();

  private constructor(path: string, temporary: string, size: number, handle: FileHandle, lines: number) {
    this.#path = path;
    this.#temporary = temporary;
    this.#size = size;
    this.#handle = handle;
    this.#lines = lines;
  }

  /**
   * @param size of the blob, bytes
   * @param available size of the data file; claims beyond it are ignored
   */
  static async open(
    path: string,
    temporary: string,
    size: number,
    available: number,
  ): Promise<{ journal: Journal; spans: SpanSet }> {
    const spans = parseJournal(await readBounded(path, MAX_JOURNAL_BYTES), size, available);
    // Written anew, so that what was ignored just now is never read again.
    await replacePrivateFile(temporary, path, format(size, spans.spans));
    const handle = await open(path, 'a');
    return { journal: new Journal(path, temporary, size, handle, spans.spans.length), spans };
  }

  /** Resolves when the kernel has it: a kill of this process does not lose it. */
  append(sign: '+' | '-', { start, end }: Span): Promise<void> {
    this.#queue.push(`${sign}${start} ${end}\n`);
    // Callers that come while a line is being written share the next one.
    this.#next ??= this.#inTurn(() => this.#flush());
    return this.#next;
  }

  /** One line for each span, in place of the history, when that has become much longer. */
  async shorten(spans: SpanSet): Promise<void> {
    if (this.#lines <= 4 * spans.spans.length + SLACK_LINES) return;
    this.#lines = spans.spans.length;
    await this.rewrite(spans);
  }

  rewrite(spans: SpanSet): Promise<void> {
    return this.#inTurn(async () => {
      await replacePrivateFile(this.#temporary, this.#path, format(this.#size, spans.spans));
      await this.#handle.close();
      this.#handle = await open(this.#path, 'a');
      this.#lines = spans.spans.length;
    });
  }

  async close(): Promise<void> {
    await this.#settled;
    await this.#handle.close();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#settled.then(work);
    this.#settled = done.catch(() => undefined);
    return done;
  }

  async #flush(): Promise<void> {
    const lines = this.#queue;
    this.#queue = [];
    this.#next = undefined;
    this.#lines += lines.length;
    await this.#handle.appendFile(lines.join(''));
  }
}

/** Exported for the tests of hostile journals. */
export function parseJournal(bytes: Buffer | undefined, size: number, available: number): SpanSet {
  const spans = new SpanSet();
  const lines = (bytes ?? Buffer.alloc(0)).toString('latin1').split('\n');
  // What stands behind the last line break is torn.
  lines.pop();
  if (lines.shift() !== header(size)) return spans;
  const known = Math.min(size, available);
  for (const line of lines) {
    const [, sign, from, to] = LINE.exec(line) ?? [];
    if (sign === undefined) continue;
    const start = Number(from);
    const end = Math.min(Number(to), known);
    if (sign === '+') spans.add(start, end);
    else spans.remove(start, Number(to));
  }
  return spans;
}

function format(size: number, spans: readonly Span[]): Buffer {
  return Buffer.from([header(size), ...spans.map(({ start, end }) => `+${start} ${end}`), ''].join('\n'));
}

function header(size: number): string {
  return `spans of ${size}`;
}
