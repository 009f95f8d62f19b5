import { delay } from '../base/retry.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';

/** A download that would end so soon goes on without a swarm. Milliseconds. */
const ENDS_SOON_MS = 1_000;

export interface UntilHashedOptions {
  /** Reads at the registry, to the end of the blob. */
  readonly read: (signal: AbortSignal) => Promise<'whole'>;
  /** Waits for the torrent; undefined where none comes. Its failure is the same as none. */
  readonly hashes: (signal: AbortSignal) => Promise<Metainfo | undefined>;
  /** Both read the same bytes at the same time, so that they end together. */
  readonly endsWithHashes: boolean;
  /** Bytes, and bytes per second. */
  readonly progress: () => {
    readonly size: number;
    readonly received: number;
    readonly downloadRate: number;
  };
  readonly signal: AbortSignal;
}

/** Reads until the blob is whole, or there is a torrent with which a swarm can go on. */
export async function readUntilHashed(options: UntilHashedOptions): Promise<'whole' | Metainfo> {
  const { read, hashes, endsWithHashes, signal } = options;
  const stopAsking = new AbortController();
  const stopReading = new AbortController();
  const hashed = hashes(AbortSignal.any([signal, stopAsking.signal])).catch(() => undefined);
  const reading = read(AbortSignal.any([signal, stopReading.signal]));
  reading.catch(() => undefined);
  try {
    const metainfo = await Promise.race([reading.then(() => undefined), hashed]);
    if (metainfo === undefined) return await reading;
    if (endsWithHashes && (await endsSoon(reading, options))) return 'whole';
    stopReading.abort();
    await reading.catch(() => undefined);
    return metainfo;
  } finally {
    stopAsking.abort();
  }
}

/** Whoever has nearly everything has nothing to gain from a swarm, which would first hash what is here. */
async function endsSoon(
  reading: Promise<'whole'>,
  { progress, signal }: UntilHashedOptions,
): Promise<boolean> {
  const { downloadRate, received, size } = progress();
  if (size - received > downloadRate * (ENDS_SOON_MS / 1000)) return false;
  const late = new AbortController();
  try {
    const isLate = delay(2 * ENDS_SOON_MS, AbortSignal.any([signal, late.signal])).then(() => false);
    return await Promise.race([reading.then(() => true), isLate]);
  } finally {
    late.abort();
  }
}
