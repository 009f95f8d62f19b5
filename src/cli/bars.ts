import type { MultiBar, SingleBar } from 'cli-progress';
import { formatBytes } from '../base/units.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { BlobProgress } from '../pull/events.ts';

/** One bar for each blob on its way. */
export interface Bars {
  readonly update: (progress: BlobProgress) => void;
  readonly complete: (digest: Digest) => void;
  /** A line above the bars. */
  readonly log: (text: string) => void;
  readonly end: () => void;
}

/** Short digest, bar, percent, rates, peers, and how much of it came from the registry. */
const FORMAT =
  '{name} [{bar}] {percentage}% of {size} | down {down}/s up {up}/s | {peers} peers | {registry} % registry';

export async function openBars(stream: NodeJS.WriteStream): Promise<Bars> {
  const { default: cliProgress } = await import('cli-progress');
  const multi: MultiBar = new cliProgress.MultiBar(
    { format: FORMAT, stream, hideCursor: true, clearOnComplete: true, barsize: 24, fps: 5, linewrap: false },
    cliProgress.Presets.rect,
  );
  const bars = new Map<Digest, SingleBar>();
  return {
    update: (progress) => {
      if (progress.size === 0) return;
      let bar = bars.get(progress.digest);
      if (bar === undefined) {
        bar = multi.create(progress.size, 0, payload(progress));
        bars.set(progress.digest, bar);
      }
      bar.update(progress.received, payload(progress));
    },
    complete: (digest) => {
      const bar = bars.get(digest);
      if (bar === undefined) return;
      bars.delete(digest);
      multi.remove(bar);
    },
    log: (text) => {
      // MultiBar draws only while it has bars; without one its log would wait for the next.
      if (bars.size === 0) stream.write(`${text}\n`);
      else multi.log(`${text}\n`);
    },
    end: () => multi.stop(),
  };
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
