import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { busy, lying, refusing, silent, startLiar, type Behaviour } from '../../test/helpers/liar.ts';
import type { Scope } from '../../test/helpers/processes.ts';
import { emptyStorage, fullStorage, node, sample, startTracker } from '../../test/swarm/kit.ts';

const SEEDS = 3;

export const LIARS: Readonly<Record<string, Behaviour | undefined>> = {
  'three seeds': undefined,
  '+ wrong blocks': lying,
  '+ stalls': silent,
  '+ signs of life': busy,
  '+ refusals': refusing,
};

/**
 * One node pulls a blob from three seeds, and from a liar if there is one.
 * @param size bytes
 * @param rate of each seed, bytes per second
 * @returns seconds
 */
export async function pullBesideLiar(
  size: number,
  rate: number,
  liar: Behaviour | undefined,
): Promise<number> {
  const ends: (() => void | Promise<void>)[] = [];
  const scope: Scope = { after: (end) => void ends.push(end) };
  try {
    const { url } = await startTracker(scope);
    const { content, metainfo } = sample(size, [url]);
    const signal = new AbortController().signal;
    for (let seeds = 0; seeds < SEEDS; seeds++) {
      const seed = node(scope, { uploadLimiter: createRateLimiter(rate) });
      await seed.join({ metainfo, storage: fullStorage(content), signal });
    }
    if (liar !== undefined) await startLiar(scope, url, metainfo, liar);
    const startedAt = performance.now();
    const storage = emptyStorage(size);
    const swarm = await node(scope, { encryptionMode: 2 }).join({ metainfo, storage, signal });
    await swarm.done;
    const seconds = (performance.now() - startedAt) / 1000;
    if (!storage.bytes.equals(content)) throw new Error('other bytes than the blob');
    return seconds;
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}
