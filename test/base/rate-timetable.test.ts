import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRateTimetable } from '../../src/base/rate-timetable.ts';
import { createTimetableLimiter } from '../../src/base/rate-limiter.ts';

/** In this machine's time zone; 2026-11-22 is a Sunday. */
const at = (day: number, hours: number, minutes = 0): Date => new Date(2026, 10, 22 + day, hours, minutes);

test('one rate: a number is kB/s, a size is a size', () => {
  for (const [text, rate] of [
    ['0', 0],
    ['off', 0],
    ['500', 500_000],
    ['10M', 10_000_000],
    ['1.5M', 1_500_000],
    ['512k', 512_000],
    ['1Mi', 1_048_576],
    ['10MB', 10_000_000],
  ] as const)
    assert.equal(parseRateTimetable(text).at(at(3, 12)), rate, text);
});

test("rates by the hour, in the form of rclone's --bwlimit", () => {
  const daily = parseRateTimetable('08:00,512k 12:00,10M 19:30,off');
  const rows = [
    [0, 0, 0, 0],
    [0, 7, 59, 0],
    [0, 8, 0, 512_000],
    [3, 11, 59, 512_000],
    [3, 12, 0, 10_000_000],
    [6, 19, 29, 10_000_000],
    [6, 19, 30, 0],
  ] as const;
  for (const [day, hours, minutes, rate] of rows)
    assert.equal(daily.at(at(day, hours, minutes)), rate, `${day} ${hours}:${minutes}`);

  const weekly = parseRateTimetable('Mon-09:00,100 Fri-18:00,off sunday-20:00,1M');
  assert.equal(weekly.at(at(0, 19)), 0, 'Friday evening lasts until Sunday evening');
  assert.equal(weekly.at(at(0, 20)), 1_000_000);
  assert.equal(weekly.at(at(1, 8, 59)), 1_000_000);
  assert.equal(weekly.at(at(1, 9)), 100_000);
  assert.equal(weekly.at(at(5, 17)), 100_000);
  assert.equal(weekly.at(at(6, 0)), 0);
});

test('what is no rate is refused with the accepted form', () => {
  for (const text of [
    '',
    'fast',
    '-1',
    '10X',
    '1e9',
    '99999999999',
    '08:00',
    '08:00,',
    '24:00,1M',
    '08:60,1M',
    '8,1M',
    'Xyz-08:00,1M',
    '08:00,1M 09:00',
    '08:00,1M,2M',
    Array.from({ length: 200 }, () => '08:00,1M').join(' '),
  ])
    assert.throws(() => parseRateTimetable(text), { code: 'usage' }, text.slice(0, 40));
});

test('a limiter goes over to the rate of the hour', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: at(1, 7, 59) });
  let clock = 0;
  t.mock.method(performance, 'now', () => clock);
  const limiter = createTimetableLimiter(parseRateTimetable('08:00,1k 09:00,off'));
  assert.equal(limiter.bytesPerSecond, 0);
  await limiter.take(1e9);
  t.mock.timers.setTime(at(1, 8).getTime());
  assert.equal(limiter.bytesPerSecond, 0, 'it is looked at once a second');
  clock += 1001;
  assert.equal(limiter.bytesPerSecond, 1000);
  t.mock.timers.setTime(at(1, 9).getTime());
  clock += 1001;
  assert.equal(limiter.bytesPerSecond, 0);
});
