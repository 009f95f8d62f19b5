import { QuayctlError } from '../../base/errors.ts';
import type { Announce, TrackerAnswer } from './announce.ts';

/** One announce over UDP (BEP 15). @throws QuayctlError `unreachable` */
export async function announceUdp(
  tracker: string,
  announce: Announce,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  signal.throwIfAborted();
  // Loaded for those who need it: with its WebSockets it is the largest part of a swarm.
  const { Client } = await import('bittorrent-tracker');
  const { infoHash, peerId, port, uploaded, downloaded, left, numwant } = announce;
  const client = new Client({ infoHash, peerId, port, announce: [tracker], wrtc: false });
  const peers: string[] = [];
  client.on('peer', (peer: unknown) => {
    if (typeof peer === 'string') peers.push(peer);
  });
  let size: TrackerAnswer['size'];
  const fields = { uploaded, downloaded, left, numwant };
  let onAbort: (() => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void =>
        // The library puts the URL behind its messages; a query may be secret.
        reject(new QuayctlError('unreachable', error.message.split(' (')[0] ?? 'failed'));
      onAbort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      client.on('warning', fail);
      client.on('error', fail);
      // The peers of an answer are named in the same tick, after it.
      client.on('update', ({ complete, incomplete }: { complete: number; incomplete: number }) => {
        size = { seeds: complete, leechers: incomplete };
        setImmediate(resolve);
      });
      if (announce.event === 'started') client.start(fields);
      else if (announce.event === 'completed') client.complete(fields);
      else if (announce.event === 'stopped') client.stop(fields);
      else client.update(fields);
    });
    return {
      peers,
      intervalMs: undefined,
      minIntervalMs: undefined,
      ...(size === undefined ? {} : { size }),
    };
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
    client.on('error', () => {});
    client.destroy();
  }
}
