import { QuayctlError } from '../base/errors.ts';
import { byteString, bytesOf, type ByteString } from './entry.ts';

/** pax records by keyword. Values are bytes: a capability is no text, and a name may be none. */
export type PaxRecords = ReadonlyMap<ByteString, ByteString>;

/**
 * The records of an extended header, `25 mtime=1084839148.1212\n` (POSIX pax). An empty value takes its record back. The
 * pieces of a sparse file in format 0.0, which says a keyword many times, become the one record that format 0.1 has.
 * @throws QuayctlError `protocol`
 */
export function parsePax(bytes: Uint8Array): PaxRecords {
  const text = byteString(bytes);
  const records = new Map<ByteString, ByteString>();
  const pieces: ByteString[] = [];
  for (let at = 0; at < text.length;) {
    const [digits = '', space = ''] =
      /^([1-9]\d{0,7})( )/.exec(text.slice(at, at + MAX_DIGITS + 1))?.slice(1) ?? [];
    const start = at + digits.length + space.length;
    const end = at + Number(digits);
    const equals = text.indexOf('=', start);
    if (space === '' || end > text.length || equals <= start || equals >= end || text[end - 1] !== '\n') {
      throw new QuayctlError('protocol', 'a pax record is malformed');
    }
    const key = text.slice(start, equals);
    const value = text.slice(equals + 1, end - 1);
    const isPiece = key === SPARSE_OFFSET || key === SPARSE_LENGTH;
    if (isPiece && key !== (pieces.length % 2 === 0 ? SPARSE_OFFSET : SPARSE_LENGTH)) {
      throw new QuayctlError('protocol', 'a pax record is malformed');
    }
    if (isPiece) pieces.push(value);
    else if (value === '') records.delete(key);
    else records.set(key, value);
    at = end;
  }
  if (pieces.length > 0) records.set('GNU.sparse.map', pieces.join(','));
  return records;
}

const SPARSE_OFFSET = 'GNU.sparse.offset';
const SPARSE_LENGTH = 'GNU.sparse.numbytes';

/** More digits than any record that fits into a header. */
const MAX_DIGITS = 8;

export function formatPax(records: PaxRecords): Buffer {
  return bytesOf([...records].map(([key, value]) => formatRecord(` ${key}=${value}\n`)).join(''));
}

/** The length in front counts itself. */
function formatRecord(rest: ByteString): ByteString {
  let length = rest.length;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return `${length}${rest}`;
}
