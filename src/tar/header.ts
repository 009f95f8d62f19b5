import { QuayctlError } from '../base/errors.ts';
import { byteString, NO_XATTRS, shown, type ByteString, type Entry, type EntryType } from './entry.ts';
import { NANOSECONDS, parseDecimal, parseInteger, parseNumber, parseTime } from './numbers.ts';
import { entryPath, hardLinkPath, symbolicLinkText } from './paths.ts';
import type { PaxRecords } from './pax.ts';
import { sparseNameOf } from './sparse.ts';

export const BLOCK = 512;
/** Where pax keeps extended attributes, in the spelling of star, GNU tar, Go and so of Docker. */
export const XATTR_KEY = 'SCHILY.xattr.';

/** Owners have 32 bits on Linux. */
const ID_BITS = 32;
/** As an owner it means "unchanged" (chown(2)): what is created then belongs to root. */
const NO_ID = 2 ** 32 - 1;
/** XATTR_SIZE_MAX and XATTR_NAME_MAX of Linux. */
const MAX_XATTR_BYTES = 65_536;
const MAX_XATTR_NAME_BYTES = 255;
/** What a Linux dev_t holds, and Docker takes of larger numbers. */
const MAJOR_BITS = 12;
const MINOR_BITS = 20;

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
    throw new QuayctlError('protocol', 'a header is damaged, or this is not a tar');
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
 * What a header says, with what came ahead of it. Numbers that are too large for Linux are cut to what it takes, as they
 * are on their way from Go into the system calls of an engine.
 * @throws QuayctlError `unsupported` for GNU's own sparse files and types that are none of a file system, `protocol`
 */
export function parseEntry(block: Block, { longName, longLink, pax = new Map() }: Ahead): Entry {
  const name = longName ?? sparseNameOf(pax) ?? pax.get('path') ?? block.name;
  const link = longLink ?? pax.get('linkpath') ?? block.linkName;
  const type = typeOf(block, name);
  const paxSize = pax.get('size');
  const { bytes } = block;
  return {
    path: entryPath(name),
    type,
    mode: parseNumber(bytes.subarray(100, 108)) & 0o7777,
    uid: owner(pax.get('uid'), bytes.subarray(108, 116)),
    gid: owner(pax.get('gid'), bytes.subarray(116, 124)),
    mtime: timeOf(pax.get('mtime'), bytes.subarray(136, 148)),
    size: type !== 'file' ? 0 : paxSize === undefined ? block.size : paxSizeOf(paxSize),
    linkPath: type === 'hardlink' ? hardLinkPath(link) : type === 'symlink' ? symbolicLinkText(link) : '',
    device: type === 'char-device' || type === 'block-device' ? deviceOf(bytes) : undefined,
    xattrs: xattrsOf(pax),
  };
}

function typeOf({ type }: Block, name: ByteString): EntryType {
  if (type === 'S') {
    throw new QuayctlError('unsupported', `${shown(name)} is a sparse file as old GNU tars have them`, {
      hint: 'no engine unpacks these; `tar --format=pax` writes others, which they do',
    });
  }
  // Before there was a type for them.
  if (type === '\0' && name.endsWith('/')) return 'directory';
  const known = TYPES[type];
  if (known !== undefined) return known;
  throw new QuayctlError('unsupported', `an entry of type ${JSON.stringify(type)}`);
}

function owner(pax: ByteString | undefined, field: Uint8Array): number {
  const id = lowBits(ID_BITS, pax === undefined ? parseInteger(field) : parseDecimal(pax));
  return id === NO_ID ? 0 : id;
}

function paxSizeOf(digits: ByteString): number {
  const size = Number(parseDecimal(digits));
  if (!Number.isSafeInteger(size) || size < 0) throw new QuayctlError('protocol', `a size is ${digits}`);
  return size;
}

function timeOf(pax: ByteString | undefined, field: Uint8Array): bigint {
  return pax === undefined ? parseInteger(field) * NANOSECONDS : parseTime(pax);
}

function deviceOf(bytes: Uint8Array): { major: number; minor: number } {
  return {
    major: lowBits(MAJOR_BITS, parseInteger(bytes.subarray(329, 337))),
    minor: lowBits(MINOR_BITS, parseInteger(bytes.subarray(337, 345))),
  };
}

function lowBits(bits: number, value: bigint): number {
  return Number(BigInt.asUintN(bits, value));
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
