import { encodeBencode } from '../../metainfo/bencode.ts';
import type { SwarmCount } from './peer-list.ts';

const INFO_HASH_BYTES = 20;

/** The one info hash of a scrape's query, hex; undefined for none, several, or one that is none. */
export function scrapedHash(rawQuery: string): string | undefined {
  const values = rawQuery.split('&').filter((pair) => pair.startsWith('info_hash='));
  const [value = ''] = values;
  if (values.length !== 1) return undefined;
  // Bytes, not text: no URL library decodes them.
  const bytes = value
    .slice('info_hash='.length)
    .replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const infoHash = Buffer.from(bytes, 'latin1');
  return infoHash.length === INFO_HASH_BYTES ? infoHash.toString('hex') : undefined;
}

/** BEP 48. By our own hand: bittorrent-tracker writes the info hash as UTF-8, in which it is another. */
export function scrapeAnswer(infoHash: string, count?: SwarmCount): Uint8Array {
  const { complete, incomplete, downloaded } = count ?? { complete: 0, incomplete: 0, downloaded: 0 };
  const key = encodeBencode(Buffer.from(infoHash, 'hex'));
  const entry = encodeBencode({ complete, downloaded, incomplete });
  return encodeBencode({ files: { raw: Buffer.concat([Buffer.from('d'), key, entry, Buffer.from('e')]) } });
}
