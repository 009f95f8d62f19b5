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
  columns: number;
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

const HALF = { size: 3e9, received: 1.5e9, downloadRate: 25e6, etaSeconds: 59.5, layers: 31, arrived: 3 };

/** What has been drawn is on the screen: bars are drawn five times a second. */
async function shown(screen: Screen, is: (lines: string[]) => boolean): Promise<string[]> {
  while (!is(screen.lines)) await new Promise((resolve) => setTimeout(resolve, 20));
  return screen.lines;
}

for (const [columns, parts] of [
  [60, [/^sha256:a{12} \[/, /50%/, /B\/s$/]],
  [80, [/^sha256:a{12} \[/, /50%/, /3 peers/, /50% registry$/]],
  [130, [/^sha256:a{12} \[/, /50%/, /3 peers/, /50 % registry$/]],
] as const) {
  test(`on ${columns} columns a bar shows all that fits, and none is blank after a line above`, async () => {
    const screen = new Screen(columns);
    const bars = await openBars(screen as unknown as NodeJS.WriteStream);
    bars.update({ ...progress('a', 500), downloadRate: 123_400_000, uploadRate: 123_400_000 });
    bars.update(progress('b', 250));
    bars.sum(HALF);
    await shown(screen, (lines) => lines.length === 3);
    bars.log('a line');
    const [line, sum = '', first = '', second = ''] = await shown(screen, (lines) => lines.length === 4);
    assert.equal(line, 'a line');
    assert.match(sum, /^total 1\.5 GB of 3\.0 GB \(50%\), 25\.0 MB\/s, 1m left/);
    if (columns >= 80) assert.match(sum, /, 3 of 31 layers$/);
    for (const part of parts) assert.match(first, part);
    assert.match(second, /^sha256:b{12} \[.*25%/);
    for (const each of [sum, first, second]) assert.ok(each.length < columns, each);
    bars.end();
  });
}

test('a terminal that is resized gets bars of its new width', async () => {
  const screen = new Screen(130);
  const bars = await openBars(screen as unknown as NodeJS.WriteStream);
  bars.update(progress('a', 500));
  bars.sum(HALF);
  await shown(screen, (lines) => lines.some((line) => line.endsWith('registry')));
  screen.columns = 60;
  screen.emit('resize');
  const [, bar = ''] = await shown(screen, (lines) => lines.length === 2 && (lines[1] ?? '').length < 60);
  assert.match(bar, /^sha256:a{12} \[.*50% 1 B\/s$/);
  bars.end();
});
