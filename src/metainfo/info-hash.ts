import { createHash } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';

declare const brand: unique symbol;
/** SHA-1 of the bencoded info dictionary, 40 lower-case hex digits (BEP 3). A capability: see SECURITY.md. */
export type InfoHash = string & { readonly [brand]: 'InfoHash' };

/** @throws QuayctlError `protocol` for anything but 40 hexadecimal digits */
export function parseInfoHash(text: string): InfoHash {
  if (/^[0-9a-f]{40}$/i.test(text)) return text.toLowerCase() as InfoHash;
  throw new QuayctlError('protocol', 'not an info hash: 40 hexadecimal digits are wanted');
}

/** Of the info dictionary's bytes as they are, not of a re-encoding. */
export function infoHashOf(infoBytes: Uint8Array): InfoHash {
  return createHash('sha1').update(infoBytes).digest('hex') as InfoHash;
}
