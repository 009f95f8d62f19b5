import { orAborted } from '../../base/abort.ts';
import { QuayctlError } from '../../base/errors.ts';
import { bareHost } from '../../base/ip-address.ts';
import type { Http } from '../../http/http.ts';
import { isLocalAddress } from '../../http/local-address.ts';
import type { TrackerAddress } from '../../metainfo/tracker-address.ts';
import type { Announce, TrackerAnswer } from './announce.ts';
import { peersElsewhere } from './peers-elsewhere.ts';

const MAX_REASON = 200;

/**
 * One announce over UDP (BEP 15). A tracker elsewhere cannot name peers on this machine.
 * @throws QuayctlError `unreachable`, `protocol` for a tracker that must not be on this machine; the signal's reason
 */
export async function announceUdp(
  { announceUrl, denyLocal }: TrackerAddress,
  announce: Announce,
  http: Http,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  signal.throwIfAborted();
  // Loaded for those who need it: with its WebSockets it is the largest part of a swarm.
  const { Client } = await import('bittorrent-tracker');
  const url = new URL(announceUrl);
  // The library would look the name up by itself, after the check.
  const address = await orAborted(http.resolve(bareHost(url.hostname), { denyLocal }), signal);
  url.hostname = address.includes(':') ? `[${address}]` : address;
  const { infoHash, peerId, port, uploaded, downloaded, left, numwant } = announce;
  const client = new Client({ infoHash, peerId, port, announce: [url.href], wrtc: false });
  const peers: string[] = [];
  client.on('peer', (peer: unknown) => {
    if (typeof peer === 'string') peers.push(peer);
  });
  const done = Promise.withResolvers<void>();
  // The library puts the URL behind its messages; a query may be secret.
  const fail = (error: Error): void => done.reject(new QuayctlError('unreachable', reasonOf(error)));
  let size: TrackerAnswer['size'];
  client.on('warning', fail);
  client.on('error', fail);
  // The peers of an answer are named in the same tick, after it.
  client.on('update', ({ complete, incomplete }: { complete: number; incomplete: number }) => {
    size = { seeds: complete, leechers: incomplete };
    setImmediate(done.resolve);
  });
  const fields = { uploaded, downloaded, left, numwant };
  if (announce.event === 'started') client.start(fields);
  else if (announce.event === 'completed') client.complete(fields);
  else if (announce.event === 'stopped') client.stop(fields);
  else client.update(fields);
  try {
    await orAborted(done.promise, signal);
  } finally {
    client.on('error', () => {});
    client.destroy();
  }
  return {
    peers: isLocalAddress(address) ? peers : await peersElsewhere(peers, http),
    intervalMs: undefined,
    minIntervalMs: undefined,
    ...(size === undefined ? {} : { size }),
  };
}

/** Without control and formatting characters: a tracker's text goes to a terminal. */
function reasonOf(error: Error): string {
  const [reason = ''] = error.message.split(' (');
  return reason.replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ').slice(0, MAX_REASON) || 'failed';
}
