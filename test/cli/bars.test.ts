import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { openBars } from '../../src/cli/bars.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { BlobProgress } from '../../src/blobs/blob-events.ts';

const ESCAPE = '\u001b';
const TOKEN = new RegExp(`${ESCAPE}\\[[?\\d;]*[A-Za-z]|[^]`, 'g');
const COMMAND = new RegExp(`^${ESCAPE}\\[(\\?*\\d*)([A-Za-z])$`);

/** As much of a terminal as bars and lines need: the cursor, erasing, no scrolling. */
class Screen extends Writable {
  readonly isTTY = true;
  readonly columns: number;
  readonly #rows: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(columns: number) {
    super({ decodeStrings: false });
    this.columns = columns;
  }

  get lines(): string[] {
    return this.#rows.map((row) => row.trimEnd()).filter((row) => row !== '');
  }

  override _write(text: string, _: string, done: () => void): void {
    for (const [token] of text.matchAll(TOKEN)) this.#take(token);
    done();
  }

  #take(token: string): void {
    const [, count, command] = COMMAND.exec(token) ?? [];
    if (token === '\n') this.#to(this.#row + 1, 0);
    else if (token === '\r') this.#column = 0;
    else if (command === 'A') this.#to(Math.max(0, this.#row - Number(count || 1)), this.#column);
    else if (command === 'B') this.#to(this.#row + Number(count || 1), this.#column);
    else if (command === 'G') this.#column = Number(count || 1) - 1;
    else if (command === 'K') this.#put(count === '' || count === '0' ? this.#before() : '');
    else if (command === 'J') this.#rows.splice(this.#row, Infinity, this.#before());
    else if (command === undefined) {
      this.#put(this.#before() + token + (this.#rows[this.#row] ?? '').slice(this.#column + 1));
      this.#column++;
    }
  }

  #before(): string {
    return (this.#rows[this.#row] ?? '').slice(0, this.#column).padEnd(this.#column);
  }

  #put(row: string): void {
    this.#rows[this.#row] = row;
  }

  #to(row: number, column: number): void {
    while (this.#rows.length <= row) this.#rows.push('');
    [this.#row, this.#column] = [row, column];
  }
}

const digest = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
const progress = (digit: string, received: number): BlobProgress => ({
  digest: digest(digit),
  size: 1000,
  received,
  fromPeers: received / 2,
  fromRegistry: received / 2,
  peers: 3,
  downloadRate: 1,
  uploadRate: 1,
});

test('bars leave every line on the screen, and nothing of themselves', async () => {
  const screen = new Screen(120);
  const bars = await openBars(screen as unknown as NodeJS.WriteStream);
  bars.log('before');
  for (const digit of ['a', 'b']) bars.update(progress(digit, 500));
  bars.log('between');
  bars.complete(digest('a'));
  bars.log('a is done');
  bars.complete(digest('b'));
  bars.log('b is done');
  bars.update(progress('c', 100));
  bars.complete(digest('c'));
  bars.log('c is done');
  bars.end();
  screen.write('after\n');
  assert.deepEqual(screen.lines, ['before', 'between', 'a is done', 'b is done', 'c is done', 'after']);
});

for (const columns of [80, 120]) {
  test(`a bar shows everything on ${columns} columns`, async () => {
    const screen = new Screen(columns);
    const bars = await openBars(screen as unknown as NodeJS.WriteStream);
    bars.update(progress('a', 500));
    bars.log('a line');
    bars.update(progress('b', 250));
    bars.sum({ size: 3e6, received: 1.5e6, downloadRate: 25_000, etaSeconds: 59.5 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const [line, sum, first = '', second = ''] = screen.lines;
    assert.equal(line, 'a line');
    assert.equal(sum, 'total 1.5 MB of 3.0 MB (50%), 25.0 kB/s, 1m left');
    for (const part of [/^sha256:a{12} \[/, /50%/, /3 peers/, /50 ?% registry$/]) assert.match(first, part);
    assert.match(second, /^sha256:b{12} \[.*25%/);
    assert.ok(first.length <= columns);
    bars.end();
  });
}
