import { isQuayctlError } from '../base/errors.ts';
import { Semaphore } from '../base/semaphore.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import type { Seeds } from '../blobs/seeds.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { OpenOptions } from '../store/blob-store.ts';
import type { SharedServices } from './pull-context.ts';

const PROGRESS_MS = 2_000;
/** Torrents joined at one time: a store may hold a thousand, and the tracker is one machine. */
const MAX_JOINING = 4;
/** setTimeout counts in 31 bits; a longer delay would end at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Gives committed blobs to others. A blob that cannot be seeded is a warning with its reason.
 * @param options with `yields`, a gc may choose them nevertheless
 * @throws QuayctlError `port`
 */
export async function seedBlobs(
  blobs: readonly Descriptor[],
  origin: BlobOrigin,
  { downloads, listener }: SharedServices,
  signal: AbortSignal,
  options: OpenOptions = {},
): Promise<void> {
  const joining = new Semaphore(MAX_JOINING);
  const seedOne = async (blob: Descriptor): Promise<void> => {
    try {
      await joining.run(() => downloads.seeds.seed(blob, origin, signal, options), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error) || error.code === 'port') throw error;
      const message = `not seeding ${shortDigest(blob.digest)}: ${error.message}`;
      listener({ kind: 'warning', message });
    }
  };
  await Promise.all(blobs.filter(({ size }) => size > 0).map(seedOne));
}

/**
 * Waits until the duration is over or the signal comes, and tells how the seeding goes.
 * @param totals of what is seeded
 * @param durationMs undefined for as long as the signal lets it
 */
export async function keepSeeding(
  totals: () => ReturnType<Seeds['totals']>,
  durationMs: number | undefined,
  { listener }: Pick<SharedServices, 'listener'>,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const untilMs = durationMs === undefined ? undefined : Date.now() + durationMs;
  listener({ kind: 'seeding', blobs: totals().torrents, durationMs });
  const { promise: over, resolve } = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    const left = (untilMs ?? Infinity) - Date.now();
    if (left <= 0) resolve();
    else timer = setTimeout(arm, Math.min(left, LONGEST_TIMER_MS));
  };
  arm();
  const ticker = setInterval(() => listener({ kind: 'seed-progress', ...totals() }), PROGRESS_MS);
  signal.addEventListener('abort', () => resolve(), { once: true });
  await over;
  clearTimeout(timer);
  clearInterval(ticker);
  listener({ kind: 'seeded', ...totals() });
}
