import { QuayctlError } from '../base/errors.ts';
import { byteString } from './entry.ts';

/** Largest that an 8-digit field, and a 12-digit field, holds in octal (POSIX ustar: one place is the end). */
export const MAX_SMALL = 0o7777777;
export const MAX_LARGE = 0o77777777777;

/**
 * A number of a header: octal digits, or, with the highest bit set, GNU's base 256 in two's complement. As Go reads it
 * (archive/tar, parseNumeric), what stands behind a NUL is left out.
 * @throws QuayctlError `protocol` for neither, or a number that is not exact in a double
 */
export function parseNumber(field: Uint8Array): number {
  const number = Number(parseInteger(field));
  if (!Number.isSafeInteger(number)) throw new QuayctlError('protocol', 'a number is out of all bounds');
  return number;
}

/** The same of any size. @throws QuayctlError `protocol` */
export function parseInteger(field: Uint8Array): bigint {
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) return parseBase256(field);
  const [digits = ''] = byteString(field)
    .replace(/^[ \0]+|[ \0]+$/g, '')
    .split('\0', 1);
  if (digits === '') return 0n;
  if (!/^[0-7]{1,12}$/.test(digits)) throw new QuayctlError('protocol', 'a number is not octal');
  return BigInt(`0o${digits}`);
}

function parseBase256(field: Uint8Array): bigint {
  const isNegative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = BigInt(isNegative ? -1 : 0);
  field.forEach((byte, at) => {
    const digit = at > 0 ? byte : isNegative ? byte | 0x80 : byte & 0x7f;
    value = (value << 8n) | BigInt(digit);
  });
  return value;
}

/** A whole number of a pax record. @throws QuayctlError `protocol` */
export function parseDecimal(text: string): bigint {
  if (!/^[+-]?\d{1,19}$/.test(text)) throw new QuayctlError('protocol', 'a pax number is not decimal');
  return BigInt(text.replace(/^\+/, ''));
}

/** `digits` octal digits and a NUL. */
export function formatNumber(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`;
}

/** Of a file: from 8 GiB on in base 256, which every reader of today takes, so that the header stays one block. */
export function formatSize(size: number): Uint8Array {
  if (size <= MAX_LARGE) return Buffer.from(formatNumber(size, 11));
  const field = Buffer.alloc(12);
  field[0] = 0x80;
  field.writeBigUInt64BE(BigInt(size), 4);
  return field;
}

/**
 * Seconds with a fraction, as pax writes times.
 * @returns nanoseconds
 * @throws QuayctlError `protocol`
 */
export function parseTime(text: string): bigint {
  const groups = /^(?<sign>-?)(?<seconds>\d{1,19})(?:\.(?<fraction>\d{0,30}))?$/.exec(text)?.groups;
  if (groups === undefined) throw new QuayctlError('protocol', 'a time is not a number');
  const { sign, seconds = '', fraction = '' } = groups;
  const value = BigInt(seconds) * NANOSECONDS + BigInt(fraction.padEnd(9, '0').slice(0, 9));
  return sign === '-' ? -value : value;
}

export function formatTime(nanoseconds: bigint): string {
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = (size % NANOSECONDS).toString().padStart(9, '0').replace(/0+$/, '');
  const sign = nanoseconds < 0n ? '-' : '';
  return `${sign}${size / NANOSECONDS}${fraction === '' ? '' : `.${fraction}`}`;
}

export const NANOSECONDS = 1_000_000_000n;
