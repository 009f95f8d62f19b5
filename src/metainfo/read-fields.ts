import { QuayctlError } from '../base/errors.ts';
import type { BDictionary, BValue } from './bencode.ts';

/** Fields of a torrent, as whoever made it has written them. @throws QuayctlError `protocol`, each of these */
export function isList(value: BValue): value is readonly BValue[] {
  return Array.isArray(value);
}

export function integer({ entries }: BDictionary, key: string): number {
  const value = entries.get(key);
  if (typeof value === 'number') return value;
  throw malformed(`info.${key} is missing, or not a number`);
}

export function byteString(value: BValue | undefined, key: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw malformed(`${key} is missing, or not a string`);
}

export function text(value: BValue | undefined, key: string, max: number): string {
  const bytes = byteString(value, key);
  if (bytes.length === 0 || bytes.length > max) throw malformed(`${key} is not a text of 1 to ${max} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(`${key} is not UTF-8`);
  }
}

export function malformed(reason: string): QuayctlError {
  return new QuayctlError('protocol', `torrent: ${reason}`);
}
