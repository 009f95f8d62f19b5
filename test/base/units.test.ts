import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, formatDuration, parseDuration, parseSize } from '../../src/base/units.ts';

test('durations', () => {
  const rows: [text: string, ms: number][] = [
    ['0', 0],
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['500ms', 500],
    ['2d', 172_800_000],
    ['1.5h', 5_400_000],
    ['1m1s1ms', 61_001],
  ];
  for (const [text, ms] of rows) assert.equal(parseDuration(text), ms, text);
  for (const text of [
    '',
    '5',
    '-1s',
    '1',
    's',
    '1 h',
    '1w',
    '1h ',
    '1e3s',
    '1000d1000000d',
    '١s',
    'Infinity',
    '1..5s',
  ]) {
    assert.throws(() => parseDuration(text), { code: 'usage', message: /write 90s, 10m or 1h30m/ }, text);
  }
});

test('sizes', () => {
  const rows: [text: string, bytes: number][] = [
    ['0', 0],
    ['4096', 4096],
    ['500M', 500e6],
    ['10Gi', 10 * 2 ** 30],
    ['1k', 1000],
    ['1kB', 1000],
    ['1KiB', 1024],
    ['1.5 G', 1.5e9],
    ['2T', 2e12],
    ['7B', 7],
  ];
  for (const [text, bytes] of rows) assert.equal(parseSize(text), bytes, text);
  for (const text of ['', 'k', '-1', '1X', '1iB', '0x10', '1e3', '999999999999999Ti', '1 0', '1KK']) {
    assert.throws(() => parseSize(text), { code: 'usage', message: /write 500M, 20G or 10Gi/ }, text);
  }
});

test('for people', () => {
  const sizes: [bytes: number, text: string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [12_345_678, '12.3 MB'],
    [999_960, '1.0 MB'],
    [5e15, '5.0 PB'],
  ];
  for (const [bytes, text] of sizes) assert.equal(formatBytes(bytes), text);
  const durations: [ms: number, text: string][] = [
    [0, '0ms'],
    [850, '850ms'],
    [4200, '4.2s'],
    [59_999, '60s'],
    [60_000, '1m'],
    [5_400_000, '1h30m'],
    [90_061_000, '1d1h1m1s'],
  ];
  for (const [ms, text] of durations) assert.equal(formatDuration(ms), text);
});
