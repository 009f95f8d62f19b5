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

/** Short digest, bar, percent, rates, peers, and how much of it came from the registry. */
const WIDE =
  '{name} [{bar}] {percentage}% of {size} | down {down}/s up {up}/s | {peers} peers | {registry} % registry';
const WIDE_COLUMNS = 110;
/** For the usual 80 columns: what does not fit is cut off. */
const NARROW = '{name} [{bar}] {percentage}% {down}/s up {up}/s {peers} peers {registry}% registry';
/** What stands beside the bar of `NARROW` at most. */
const NARROW_TEXT = 75;
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
  const open = (): MultiBar => {
    const { columns } = stream;
    const format = columns < WIDE_COLUMNS ? NARROW : WIDE;
    const barsize = Math.min(MAX_BAR, Math.max(MIN_BAR, columns - NARROW_TEXT));
    const opened = new cliProgress.MultiBar(
      { format, stream, hideCursor: true, clearOnComplete: true, barsize, fps: 5, linewrap: false },
      cliProgress.Presets.rect,
    );
    sum = opened.create(1, 0, { text: '' }, { format: '{text}' });
    return opened;
  };
  const close = (): void => {
    // Lines may still wait to be drawn.
    multi?.update();
    multi?.stop();
    multi = sum = undefined;
    bars.clear();
  };
  return {
    sum: (progress) => sum?.update(0, { text: sumLine(progress) }),
    update: (progress) => {
      if (progress.size === 0) return;
      let bar = bars.get(progress.digest);
      if (bar === undefined) {
        multi ??= open();
        bar = multi.create(progress.size, 0, payload(progress));
        bars.set(progress.digest, bar);
      }
      bar.update(progress.received, payload(progress));
    },
    complete: (digest) => {
      const bar = bars.get(digest);
      if (bar === undefined) return;
      if (bars.size === 1) return close();
      bars.delete(digest);
      multi?.remove(bar);
    },
    log: (text) => {
      if (multi === undefined) stream.write(`${text}\n`);
      else multi.log(`${WRAPPING}${text}\n${NOT_WRAPPING}`);
    },
    end: close,
  };
}

/** `total 12.3 MB of 45.6 MB (26%), 1.2 MB/s, 28s left` */
export function sumLine({ size, received, downloadRate, etaSeconds }: PullProgress): string {
  const percent = size === 0 ? 100 : Math.floor((received / size) * 100);
  const left = etaSeconds === undefined ? '' : `, ${formatDuration(Math.ceil(etaSeconds) * 1000)} left`;
  const sizes = `${formatBytes(received)} of ${formatBytes(size)} (${percent}%)`;
  return `total ${sizes}, ${formatBytes(downloadRate)}/s${left}`;
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
