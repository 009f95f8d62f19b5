import { QuayctlError } from '../base/errors.ts';
import { bytesOf, fileEntry, shown, type Entry, type EntryType, type TarEntry } from './entry.ts';
import { BLOCK, checksum, XATTR_KEY } from './header.ts';
import { formatNumber, formatSize, formatTime, MAX_LARGE, MAX_SMALL, NANOSECONDS } from './numbers.ts';
import { formatPax } from './pax.ts';
import { paddingOf } from './reader.ts';

const FLAGS: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'char-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};

/** Room for a name in a header. */
const NAME_BYTES = 100;
/** Of the header that holds pax records; nobody looks at it. */
const PAX_NAME = 'PaxHeaders.0/pax';

/**
 * A tar of these entries: ustar, and pax where that has no room. The same entries make the same bytes. Owners are
 * numbers: a name would be looked up in somebody else's passwd.
 * @throws QuayctlError `internal` where content is not as long as its header says; what the entries fail with
 */
export async function* tarBytes(entries: AsyncIterable<TarEntry>): AsyncGenerator<Uint8Array> {
  for await (const { header, content } of entries) {
    yield formatEntry(header);
    if (header.type !== 'file') continue;
    let length = 0;
    for await (const chunk of content) {
      length += chunk.length;
      yield chunk;
    }
    if (length !== header.size) {
      throw new QuayctlError('internal', `${shown(header.path)} has ${length} bytes, not ${header.size}`);
    }
    if (length % BLOCK !== 0) yield Buffer.alloc(paddingOf(length));
  }
  // The end mark.
  yield Buffer.alloc(2 * BLOCK);
}

/** The header of an entry, with its pax header in front where it needs one. */
export function formatEntry(header: Entry): Uint8Array {
  const records = paxRecords(header);
  const block = formatBlock(header, FLAGS[header.type]);
  if (records.size === 0) return block;
  const pax = formatPax(records);
  const front = formatBlock({ ...PAX_HEADER, size: pax.length }, 'x');
  return Buffer.concat([front, pax, Buffer.alloc(paddingOf(pax.length)), block]);
}

const PAX_HEADER: Entry = fileEntry(PAX_NAME, new Uint8Array()).header;

/** What the ustar header has no room for. Of names that is their length alone: bytes are bytes there, too. */
function paxRecords(header: Entry): Map<string, string> {
  const { linkPath, uid, gid, mtime, xattrs } = header;
  const name = nameOf(header);
  const records: [string, string, boolean][] = [
    ['path', name, name.length > NAME_BYTES],
    ['linkpath', linkPath, linkPath.length > NAME_BYTES],
    ['uid', String(uid), uid > MAX_SMALL],
    ['gid', String(gid), gid > MAX_SMALL],
    ['mtime', formatTime(mtime), BigInt(ustarTime(mtime)) * NANOSECONDS !== mtime],
  ];
  const byName = [...xattrs].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return new Map([
    ...records.filter(([, , isNeeded]) => isNeeded).map(([key, value]) => [key, value] as const),
    ...byName.map(([key, value]) => [XATTR_KEY + key, Buffer.from(value).toString('latin1')] as const),
  ]);
}

function nameOf({ path, type }: Entry): string {
  if (type !== 'directory') return path;
  return path === '' ? './' : `${path}/`;
}

/** Whole seconds as far as eleven octal digits go, else what is nearest. */
function ustarTime(mtime: bigint): number {
  if (mtime < 0n) return 0;
  return Math.min(Number(mtime / NANOSECONDS), MAX_LARGE);
}

function formatBlock(header: Entry, flag: string): Buffer {
  const { mode, uid, gid, size, mtime, linkPath, device } = header;
  const block = Buffer.alloc(BLOCK);
  block.set(bytesOf(nameOf(header).slice(0, NAME_BYTES)), 0);
  block.write(formatNumber(mode, 7), 100);
  block.write(formatNumber(uid > MAX_SMALL ? 0 : uid, 7), 108);
  block.write(formatNumber(gid > MAX_SMALL ? 0 : gid, 7), 116);
  block.set(formatSize(size), 124);
  block.write(formatNumber(ustarTime(mtime), 11), 136);
  block.write(flag, 156);
  block.set(bytesOf(linkPath.slice(0, NAME_BYTES)), 157);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(formatNumber(device?.major ?? 0, 7), 329);
  block.write(formatNumber(device?.minor ?? 0, 7), 337);
  block.write(`${checksum(block, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
