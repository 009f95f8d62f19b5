import { QuayctlError } from '../../base/errors.ts';
import { readBody, type Http } from '../../http/http.ts';
import { followRedirects } from '../../http/redirect.ts';
import { decodeLooseBencode, isDictionary, type BDictionary, type BValue } from '../../metainfo/bencode.ts';
import type { TrackerAddress } from '../../metainfo/tracker-address.ts';
import { peersElsewhere } from './peers-elsewhere.ts';
import { trackerFailure, type Announce, type TrackerAnswer } from './announce.ts';

/** Bytes. Fifty peers are 300 bytes; no tracker answers with a megabyte. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** Peers that are taken from one answer; a node connects to fewer. */
const MAX_PEERS = 200;
const MAX_REASON = 200;

/** A tracker that moved (http to https, a new name) names one other place, perhaps two. */
const MAX_REDIRECTS = 3;

/**
 * One announce over HTTP (BEP 3, BEP 7 peers6, BEP 23 compact). bittorrent-tracker's client is not used for it: it reads
 * answers of any length, and ends the process when one breaks off (an unhandled rejection). A tracker elsewhere can
 * neither redirect to this machine nor name peers on it.
 * @throws QuayctlError `unreachable` and `limit` without the URL's query, which holds the token; `protocol`; the
 *   signal's reason
 */
export async function announceHttp(
  { announceUrl, denyLocal }: TrackerAddress,
  announce: Announce,
  http: Http,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  const start = URL.parse(withQuery(announceUrl, announce));
  if (start === null) throw new QuayctlError('protocol', 'the URL of the tracker is not valid');
  // The announce token is part of the URL: what was asked over TLS does not go on without it.
  const rules = { limit: MAX_REDIRECTS, insecure: false, denyLocal };
  const { answer, url } = await followRedirects(http, start, rules, (hop) =>
    http.request(hop.url, { denyLocal: hop.denyLocal, signal }),
  );
  const bytes = await readBody(answer, { maxBytes: MAX_ANSWER_BYTES, url, what: 'its answer', signal });
  const read = readAnswer(bytes, answer.statusCode);
  return http.isLocal(url) ? read : { ...read, peers: await peersElsewhere(read.peers, http) };
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
  if (answer === undefined)
    throw new QuayctlError('protocol', 'it gave no tracker answer: no bencoded dictionary (BEP 3)');
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

/** A stranger's text for people: bounded, without control and formatting characters, which can rewrite a terminal. */
function text(value: BValue | undefined): string | undefined {
  if (!(value instanceof Uint8Array)) return undefined;
  return Buffer.from(value)
    .toString('utf8')
    .replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ')
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
