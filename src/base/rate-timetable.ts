import { QuayctlError } from './errors.ts';
import { parseSize } from './units.ts';

/** A transfer rate that may be another one at other hours; bytes per second, 0 for unlimited. */
export interface RateTimetable {
  /** @param date in this machine's time zone */
  at(date: Date): number;
}

const DAYS: Readonly<Record<string, number>> = { sun: 0, mon: 1, tue: 2, wed: 3, thu: 4, fri: 5, sat: 6 };
const MINUTES_PER_DAY = 24 * 60;
/** More changes than anybody writes: each hour of each day of a week. */
const MAX_ENTRIES = 7 * 24;
const LARGEST_RATE = 1e12;
const FORM =
  'write 500 (kB/s), 10M, off, or rates by the hour: "08:00,512k 19:00,10M 23:00,off", "Mon-08:00,1M Sat-00:00,off"';

/** From when on which rate holds. */
interface Change {
  /** Of the week, Sunday 0:00 being 0. */
  readonly minute: number;
  readonly bytesPerSecond: number;
}

/**
 * `500` (kB/s), `10M`, `off`, or a timetable in the form of rclone's `--bwlimit`: `[DAY-]HH:MM,RATE`, separated by spaces. An
 * entry without a day counts for every day; before the first entry of the week the last one holds.
 * @throws QuayctlError `usage` that states the accepted form
 */
export function parseRateTimetable(text: string): RateTimetable {
  const words = text.trim().split(/\s+/);
  const [only = ''] = words;
  if (words.length === 1 && !only.includes(',')) {
    const bytesPerSecond = parseRate(only);
    return { at: () => bytesPerSecond };
  }
  if (words.length > MAX_ENTRIES) throw new QuayctlError('usage', `more than ${MAX_ENTRIES} rates`);
  const changes = words.flatMap(parseChanges).sort((a, b) => a.minute - b.minute);
  return {
    at: (date) => {
      const now = (date.getDay() * 24 + date.getHours()) * 60 + date.getMinutes();
      const current = changes.findLast(({ minute }) => minute <= now) ?? changes.at(-1);
      return current?.bytesPerSecond ?? 0;
    },
  };
}

function parseChanges(word: string): Change[] {
  const [, day, hours, minutes, rate = ''] =
    /^(?:([a-z]{3})[a-z]*-)?(\d{1,2}):(\d{2}),(\S+)$/i.exec(word) ?? [];
  const ofDay = Number(hours) * 60 + Number(minutes);
  const days = day === undefined ? Object.values(DAYS) : [DAYS[day.toLowerCase()]];
  if (!(Number(hours) < 24 && Number(minutes) < 60)) throw notARate(word);
  const bytesPerSecond = parseRate(rate);
  return days.map((each) => {
    if (each === undefined) throw notARate(word);
    return { minute: each * MINUTES_PER_DAY + ofDay, bytesPerSecond };
  });
}

/** A number alone is kB/s, as it ever was. */
function parseRate(text: string): number {
  if (/^off$/i.test(text)) return 0;
  if (/^\d+$/.test(text)) return bounded(Number(text) * 1000, text);
  try {
    return bounded(parseSize(text), text);
  } catch {
    throw notARate(text);
  }
}

function bounded(rate: number, text: string): number {
  if (rate <= LARGEST_RATE) return rate;
  throw notARate(text);
}

function notARate(text: string): QuayctlError {
  return new QuayctlError('usage', `not a rate: ${JSON.stringify(text.slice(0, 80))} (${FORM})`);
}
