import { QuayctlError } from '../base/errors.ts';
import { byteString, NO_XATTRS, type ByteString, type Entry, type EntryType } from './entry.ts';
import { NANOSECONDS, parseNumber, parseTime } from './numbers.ts';
import { entryPath, hardLinkPath, symbolicLinkText } from './paths.ts';
import type { PaxRecords } from './pax.ts';

export const BLOCK = 512;
/** Where pax keeps extended attributes, in the spelling of star, GNU tar, Go and so of Docker. */
export const XATTR_KEY = 'SCHILY.xattr.';

/** Nothing on Linux has a larger owner: -1 means none. */
const MAX_ID = 2 ** 32 - 2;
/** XATTR_SIZE_MAX and XATTR_NAME_MAX of Linux. */
const MAX_XATTR_BYTES = 65_536;
const MAX_XATTR_NAME_BYTES = 255;
/** What a Linux dev_t holds. */
const MAX_MAJOR = 4095;
const MAX_MINOR = 2 ** 20 - 1;

const TYPES: Readonly<Record<string, EntryType>> = {
  '0': 'file',
  '\0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
};

/** A header block, its fields as they stand. */
export interface Block {
  readonly type: string;
  readonly name: ByteString;
  readonly linkName: ByteString;
  readonly size: number;
  readonly bytes: Uint8Array;
}

/** Names that came ahead of a header: GNU's long names, and pax records. */
export interface Ahead {
  readonly longName?: ByteString | undefined;
  readonly longLink?: ByteString | undefined;
  readonly pax?: PaxRecords | undefined;
}

export function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/** @throws QuayctlError `protocol` for what is no header of a tar */
export function parseBlock(bytes: Uint8Array): Block {
  const sum = parseNumber(bytes.subarray(148, 156));
  if (sum !== checksum(bytes, 0) && sum !== checksum(bytes, 256)) {
    throw new QuayctlError('protocol', 'a header is damaged, or this is no tar');
  }
  const size = parseNumber(bytes.subarray(124, 136));
  if (size < 0) throw new QuayctlError('protocol', 'a size is negative');
  const prefix = prefixOf(bytes);
  const name = text(bytes, 0, 100);
  return {
    type: String.fromCharCode(bytes[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: text(bytes, 157, 100),
    size,
    bytes,
  };
}

/** The sum of all bytes with the checksum as spaces; some old tars took bytes above 127 as negative. */
export function checksum(bytes: Uint8Array, less: number): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at++) {
    const byte = bytes[at] ?? 0;
    if (at < 148 || at >= 156) sum += byte > 127 ? byte - less : byte;
  }
  return sum;
}

/** ustar has room for the front of a long name; GNU keeps times there, star some of both. */
function prefixOf(bytes: Uint8Array): ByteString {
  if (byteString(bytes.subarray(257, 263)) !== 'ustar\0') return '';
  return text(bytes, 345, byteString(bytes.subarray(508, 512)) === 'tar\0' ? 131 : 155);
}

function text(bytes: Uint8Array, start: number, length: number): ByteString {
  const field = byteString(bytes.subarray(start, start + length));
  const end = field.indexOf('\0');
  return end < 0 ? field : field.slice(0, end);
}

/**
 * What a header says, with what came ahead of it.
 * @throws QuayctlError `unsupported` for sparse files and types that are none of a file system, `protocol`
 */
export function parseEntry(block: Block, { longName, longLink, pax = new Map() }: Ahead): Entry {
  const name = longName ?? pax.get('path') ?? block.name;
  const link = longLink ?? pax.get('linkpath') ?? block.linkName;
  const type = typeOf(block, name, pax);
  const paxSize = pax.get('size');
  const { bytes } = block;
  return {
    path: entryPath(name),
    type,
    mode: parseNumber(bytes.subarray(100, 108)) & 0o7777,
    uid: owner(pax.get('uid'), bytes.subarray(108, 116)),
    gid: owner(pax.get('gid'), bytes.subarray(116, 124)),
    mtime: timeOf(pax.get('mtime'), bytes.subarray(136, 148)),
    size: type !== 'file' ? 0 : paxSize === undefined ? block.size : decimal(paxSize),
    linkPath: type === 'hardlink' ? hardLinkPath(link) : type === 'symlink' ? symbolicLinkText(link) : '',
    device: type === 'char-device' || type === 'block-device' ? deviceOf(bytes) : undefined,
    xattrs: xattrsOf(pax),
  };
}

function typeOf({ type }: Block, name: ByteString, pax: PaxRecords): EntryType {
  const isSparse = type === 'S' || [...pax.keys()].some((key) => key.startsWith('GNU.sparse.'));
  if (isSparse) throw new QuayctlError('unsupported', 'a sparse file (GNU): OCI layers have none');
  // Before there was a type for them.
  if (type === '\0' && name.endsWith('/')) return 'directory';
  const known = TYPES[type];
  if (known !== undefined) return known;
  throw new QuayctlError('unsupported', `an entry of type ${JSON.stringify(type)}`);
}

function owner(pax: ByteString | undefined, field: Uint8Array): number {
  const id = pax === undefined ? parseNumber(field) : decimal(pax);
  if (id < 0 || id > MAX_ID) throw new QuayctlError('protocol', `an owner is ${id}`);
  return id;
}

function decimal(digits: ByteString): number {
  if (!/^\d{1,15}$/.test(digits)) throw new QuayctlError('protocol', 'a pax number is not decimal');
  return Number(digits);
}

function timeOf(pax: ByteString | undefined, field: Uint8Array): bigint {
  return pax === undefined ? BigInt(parseNumber(field)) * NANOSECONDS : parseTime(pax);
}

function deviceOf(bytes: Uint8Array): { major: number; minor: number } {
  const [major, minor] = [parseNumber(bytes.subarray(329, 337)), parseNumber(bytes.subarray(337, 345))];
  if (major < 0 || major > MAX_MAJOR || minor < 0 || minor > MAX_MINOR) {
    throw new QuayctlError('protocol', `a device is ${major}:${minor}`);
  }
  return { major, minor };
}

function xattrsOf(pax: PaxRecords): ReadonlyMap<ByteString, Uint8Array> {
  const records = [...pax].filter(([key]) => key.startsWith(XATTR_KEY));
  if (records.length === 0) return NO_XATTRS;
  return new Map(
    records.map(([key, value]) => {
      const name = key.slice(XATTR_KEY.length);
      if (name === '' || name.length > MAX_XATTR_NAME_BYTES || value.length > MAX_XATTR_BYTES) {
        throw new QuayctlError('protocol', 'an extended attribute is longer than Linux has them');
      }
      return [name, new Uint8Array(Buffer.from(value, 'latin1'))];
    }),
  );
}
