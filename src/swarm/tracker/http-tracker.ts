import { QuayctlError } from '../../base/errors.ts';
import { dumpBody, headerOf, readBody, type Http } from '../../http/http.ts';
import { isRedirect } from '../../http/redirect.ts';
import { decodeLooseBencode, isDictionary, type BDictionary, type BValue } from '../../metainfo/bencode.ts';
import { trackerFailure, type Announce, type TrackerAnswer } from './announce.ts';

/** Fifty peers are 300 bytes; a whole megabyte is no answer of a tracker. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** More than a node connects to. */
const MAX_PEERS = 200;
const MAX_REASON = 200;

/** A tracker that moved (http to https, a new name) names one other place, perhaps two. */
const MAX_REDIRECTS = 3;

/**
 * One announce over HTTP (BEP 3, BEP 7 peers6, BEP 23 compact). Our own in place of bittorrent-tracker's, which
 * reads answers of any length and ends the process when one breaks off (an unhandled rejection).
 * @throws QuayctlError `unreachable` and `limit` without the URL's query, which holds the token; `protocol`; the
 *   signal's reason
 */
export async function announceHttp(
  tracker: string,
  announce: Announce,
  http: Http,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  let url = URL.parse(withQuery(tracker, announce));
  if (url === null) throw new QuayctlError('protocol', 'its URL is not valid');
  let answer = await http.request(url, { signal });
  for (let redirects = 0; isRedirect(answer.statusCode) && redirects < MAX_REDIRECTS; redirects++) {
    await dumpBody(answer);
    url = redirectTarget(url, headerOf(answer, 'location'));
    answer = await http.request(url, { signal });
  }
  const bytes = await readBody(answer, { maxBytes: MAX_ANSWER_BYTES, url, what: 'its answer', signal });
  return readAnswer(bytes, answer.statusCode);
}

/** The announce token is part of the URL: what was asked over TLS does not go on without. */
function redirectTarget(from: URL, location: string | undefined): URL {
  const to = location === undefined ? null : URL.parse(location, from.href);
  if (to === null || !/^https?:$/.test(to.protocol)) {
    throw new QuayctlError('protocol', 'redirects to nowhere that can be followed');
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new QuayctlError('protocol', `redirects from HTTPS to plain HTTP at ${to.host}`);
  }
  return to;
}

function withQuery(tracker: string, announce: Announce): string {
  const { infoHash, peerId, port, uploaded, downloaded, left, event, ip, numwant } = announce;
  const fields = [
    `info_hash=${percentEncode(infoHash)}`,
    `peer_id=${percentEncode(peerId)}`,
    `port=${port}&uploaded=${uploaded}&downloaded=${downloaded}&left=${left}&compact=1&numwant=${numwant}`,
    ...(event === undefined ? [] : [`event=${event}`]),
    ...(ip === undefined ? [] : [`ip=${encodeURIComponent(ip)}`]),
  ];
  return `${tracker}${tracker.includes('?') ? '&' : '?'}${fields.join('&')}`;
}

/** Every byte as %XX: no URL library encodes bytes that are no text. */
function percentEncode(hex: string): string {
  return hex.replaceAll(/../g, '%$&');
}

function readAnswer(bytes: Uint8Array, status: number): TrackerAnswer {
  const answer = parse(bytes);
  const reason = answer === undefined ? undefined : text(answer.entries.get('failure reason'));
  if (reason !== undefined) throw trackerFailure(reason);
  if (status !== 200) throw new QuayctlError('protocol', `HTTP ${status}`);
  if (answer === undefined) throw new QuayctlError('protocol', 'the answer is no tracker answer');
  const { entries } = answer;
  const peers = [...readPeers(entries.get('peers'), 4), ...readPeers(entries.get('peers6'), 16)];
  const warning = text(entries.get('warning message'));
  return {
    peers: peers.slice(0, MAX_PEERS),
    intervalMs: seconds(entries.get('interval')),
    minIntervalMs: seconds(entries.get('min interval')),
    ...(warning === undefined ? {} : { warning }),
    ...swarmSize(entries.get('complete'), entries.get('incomplete')),
  };
}

function parse(bytes: Uint8Array): BDictionary | undefined {
  try {
    const value = decodeLooseBencode(bytes);
    return isDictionary(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function swarmSize(
  complete: BValue | undefined,
  incomplete: BValue | undefined,
): Pick<TrackerAnswer, 'size'> {
  const known = typeof complete === 'number' && typeof incomplete === 'number';
  return known ? { size: { seeds: complete, leechers: incomplete } } : {};
}

function seconds(value: BValue | undefined): number | undefined {
  return typeof value === 'number' && value > 0 ? value * 1000 : undefined;
}

/** For people: a stranger's text, without control characters (they move terminals) and bounded. */
function text(value: BValue | undefined): string | undefined {
  if (!(value instanceof Uint8Array)) return undefined;
  return Buffer.from(value)
    .toString('utf8')
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, MAX_REASON);
}

/** Compact (address and port, big-endian), or a list of dictionaries. */
function readPeers(value: BValue | undefined, addressBytes: 4 | 16): string[] {
  if (value instanceof Uint8Array) return readCompact(Buffer.from(value), addressBytes);
  if (!Array.isArray(value)) return [];
  return (value as readonly BValue[]).flatMap((peer) => {
    if (!isDictionary(peer)) return [];
    const ip = text(peer.entries.get('ip'));
    const port = peer.entries.get('port');
    return ip === undefined || typeof port !== 'number' ? [] : [address(ip, port)];
  });
}

function readCompact(bytes: Buffer, addressBytes: 4 | 16): string[] {
  const peers: string[] = [];
  for (let at = 0; at + addressBytes + 2 <= bytes.length; at += addressBytes + 2) {
    const raw = bytes.subarray(at, at + addressBytes);
    const ip = addressBytes === 4 ? raw.join('.') : (raw.toString('hex').match(/.{4}/g) ?? []).join(':');
    peers.push(address(ip, bytes.readUInt16BE(at + addressBytes)));
  }
  return peers;
}

function address(ip: string, port: number): string {
  return `${ip.includes(':') && !ip.startsWith('[') ? `[${ip}]` : ip}:${port}`;
}
