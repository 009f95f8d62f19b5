import { QuayctlError } from '../base/errors.ts';
import { isDictionary, type BDictionary } from './bencode.ts';
import { isList, malformed, text } from './read-fields.ts';
import { TrackerAddress } from './tracker-address.ts';

/** Trackers of a torrent. Public torrents have one or two dozen. */
const MAX_TRACKERS = 50;
/** Web seeds of a torrent. */
const MAX_WEB_SEEDS = 50;
/** A token of a 4096-bit key is under 2 KiB. */
const MAX_URL = 8192;
const TRACKER_PROTOCOLS = new Set(['http:', 'https:', 'udp:', 'ws:', 'wss:']);
const WEB_SEED_PROTOCOLS = new Set(['http:', 'https:']);

/** `announce`, then the tiers of `announce-list` (BEP 12). */
export function readTrackers({ entries }: BDictionary): TrackerAddress[] {
  const announce = entries.get('announce');
  const tiers = entries.get('announce-list') ?? [];
  if (!isList(tiers)) throw malformed('announce-list is not a list');
  const listed = tiers.flatMap((tier) => {
    if (!isList(tier)) throw malformed('announce-list is not a list of lists');
    return tier;
  });
  const all = announce === undefined ? listed : [announce, ...listed];
  if (all.length > MAX_TRACKERS)
    throw new QuayctlError('limit', `torrent: more than ${MAX_TRACKERS} trackers`);
  const urls = all.map((value) => text(value, 'announce', MAX_URL));
  const wrong = urls.find((url) => !isUrl(url, TRACKER_PROTOCOLS));
  if (wrong !== undefined) throw malformed('a tracker without an http, https, udp or ws URL');
  const quayctl = entries.get('quayctl');
  const denyLocal = isDictionary(quayctl) && quayctl.entries.get('from elsewhere') === 1;
  return [...new Set(urls)].map((url) => new TrackerAddress(url, denyLocal));
}

/** BEP 19: one URL or a list, often an empty one. Other schemes are left out: nothing here could ask them. */
export function readWebSeeds({ entries }: BDictionary): string[] {
  const value = entries.get('url-list') ?? [];
  const all = isList(value) ? value : value instanceof Uint8Array && value.length === 0 ? [] : [value];
  if (all.length > MAX_WEB_SEEDS)
    throw new QuayctlError('limit', `torrent: more than ${MAX_WEB_SEEDS} web seeds`);
  const urls = all.map((url) => text(url, 'url-list', MAX_URL));
  return [...new Set(urls.filter((url) => isUrl(url, WEB_SEED_PROTOCOLS)))];
}

function isUrl(url: string, protocols: ReadonlySet<string>): boolean {
  // URL() drops line breaks and spaces without a word; what is printed and what is asked would differ.
  if (/[^\x21-\x7e]/.test(url)) return false;
  const parsed = URL.parse(url);
  return parsed !== null && protocols.has(parsed.protocol) && parsed.hostname !== '';
}
