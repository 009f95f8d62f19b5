import type { MultiBar, SingleBar } from 'cli-progress';
import { formatBytes, formatDuration } from '../base/units.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { BlobProgress } from '../blobs/blob-events.ts';
import type { PullProgress } from '../pull/events.ts';

/** One bar for each blob on its way, under a line for the whole pull. */
export interface Bars {
  readonly sum: (progress: PullProgress) => void;
  readonly update: (progress: BlobProgress) => void;
  readonly complete: (digest: Digest) => void;
  /** A line above the bars. */
  readonly log: (text: string) => void;
  readonly end: () => void;
}

/** What stands beside a bar: the widest that leaves room for a bar. `text` is how many columns it takes at most. */
const FORMATS = [
  {
    columns: 110,
    text: 96,
    format:
      '{name} [{bar}] {percentage}% of {size} | down {down}/s up {up}/s | {peers} peers | {registry} % registry',
  },
  {
    columns: 76,
    text: 65,
    format: '{name} [{bar}] {percentage}% {down}/s {peers} peers {registry}% registry',
  },
  { columns: 48, text: 40, format: '{name} [{bar}] {percentage}% {down}/s' },
];
const NARROWEST = { text: 19, format: '[{bar}] {percentage}% {down}/s' };
const MIN_BAR = 4;
const MAX_BAR = 24;

/** Bars do not wrap; lines above them do, over what stood below (DECAWM on, erase below; DECAWM off). */
const WRAPPING = '\u001b[?7h\u001b[J';
const NOT_WRAPPING = '\u001b[?7l';

export async function openBars(stream: NodeJS.WriteStream): Promise<Bars> {
  const { default: cliProgress } = await import('cli-progress');
  const bars = new Map<Digest, SingleBar>();
  // Only while there are bars: between them it would move the cursor over lines that are not its own.
  let multi: MultiBar | undefined;
  let sum: SingleBar | undefined;
  let lastSum: PullProgress | undefined;
  const last = new Map<Digest, BlobProgress>();
  const open = (): MultiBar => {
    const { columns } = stream;
    const { format, text } = FORMATS.find((each) => columns >= each.columns) ?? NARROWEST;
    const barsize = Math.min(MAX_BAR, Math.max(MIN_BAR, columns - text));
    // A line above the bars erases them, so all are drawn anew, changed or not.
    const opened = new cliProgress.MultiBar(
      {
        format,
        stream,
        barsize,
        hideCursor: true,
        clearOnComplete: true,
        forceRedraw: true,
        fps: 5,
        linewrap: false,
      },
      cliProgress.Presets.rect,
    );
    sum = opened.create(1, 0, { text: sumText() }, { format: '{text}' });
    return opened;
  };
  const sumText = (): string => (lastSum === undefined ? '' : sumLine(lastSum, stream.columns - 1));
  /** Columns are counted anew: what was drawn for another width is taken away. */
  const onResize = (): void => {
    if (multi === undefined) return;
    const shown = [...bars.keys()].map((digest) => last.get(digest));
    close();
    for (const progress of shown) if (progress !== undefined) update(progress);
  };
  stream.on('resize', onResize);
  const update = (progress: BlobProgress): void => {
    if (progress.size === 0) return;
    last.set(progress.digest, progress);
    let bar = bars.get(progress.digest);
    if (bar === undefined) {
      multi ??= open();
      bar = multi.create(progress.size, 0, payload(progress));
      bars.set(progress.digest, bar);
    }
    bar.update(progress.received, payload(progress));
  };
  const close = (): void => {
    // Lines may still wait to be drawn.
    multi?.update();
    multi?.stop();
    multi = sum = undefined;
    bars.clear();
  };
  return {
    sum: (progress) => {
      lastSum = progress;
      sum?.update(0, { text: sumText() });
    },
    update,
    complete: (digest) => {
      const bar = bars.get(digest);
      last.delete(digest);
      if (bar === undefined) return;
      if (bars.size === 1) return close();
      bars.delete(digest);
      multi?.remove(bar);
    },
    log: (text) => {
      if (multi === undefined) stream.write(`${text}\n`);
      else multi.log(`${WRAPPING}${text}\n${NOT_WRAPPING}`);
    },
    end: () => {
      stream.off('resize', onResize);
      close();
    },
  };
}

/**
 * `total 12.3 MB of 45.6 MB (26%), 1.2 MB/s, 28s left, 3 of 31 layers, 2 loaded`
 * @param columns of the terminal; what does not fit is left out, from the end
 */
export function sumLine(progress: PullProgress, columns = Infinity): string {
  const { size, received, downloadRate, etaSeconds, layers, arrived, loaded } = progress;
  const percent = size === 0 ? 100 : Math.floor((received / size) * 100);
  const parts = [
    `total ${formatBytes(received)} of ${formatBytes(size)} (${percent}%)`,
    `${formatBytes(downloadRate)}/s`,
    ...(etaSeconds === undefined ? [] : [`${formatDuration(Math.ceil(etaSeconds) * 1000)} left`]),
    ...(layers === undefined ? [] : [`${arrived ?? 0} of ${layers} layers`]),
    ...(loaded === undefined || loaded === 0 ? [] : [`${loaded} loaded`]),
  ];
  let line = parts[0] ?? '';
  for (const part of parts.slice(1)) {
    if (line.length + part.length + 2 > columns) break;
    line += `, ${part}`;
  }
  return line.slice(0, columns);
}

function payload({
  digest,
  size,
  received,
  fromRegistry,
  peers,
  downloadRate,
  uploadRate,
}: BlobProgress): object {
  return {
    name: shortDigest(digest),
    size: formatBytes(size),
    down: formatBytes(downloadRate),
    up: formatBytes(uploadRate),
    peers,
    registry: received === 0 ? 0 : Math.min(100, Math.round((fromRegistry / received) * 100)),
  };
}
