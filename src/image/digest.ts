import { createHash } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';

declare const brand: unique symbol;

/**
 * A content digest, `sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor.md, "Digests").
 * Other registered algorithms parse as grammar but are refused here: nothing in quayctl could verify them.
 */
export type Digest = string & { readonly [brand]: 'Digest' };

const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const SHA256 = /^sha256:[0-9a-f]{64}$/;

/**
 * Parses a digest from foreign text.
 * @throws QuayctlError `unsupported` for another algorithm, `protocol` for anything that is no digest
 */
export function parseDigest(text: string): Digest {
  if (SHA256.test(text)) return text as Digest;
  const shown = text.length > 160 ? `${text.slice(0, 160)}…` : text;
  if (GRAMMAR.test(text) && !text.startsWith('sha256:')) {
    throw new QuayctlError('unsupported', `digest ${shown}: only sha256 digests are supported`);
  }
  throw new QuayctlError('protocol', `not a digest: ${JSON.stringify(shown)}`);
}

/** True where `text` is a digest that quayctl can verify. */
export function isDigest(text: string): text is Digest {
  return SHA256.test(text);
}

/** The SHA-256 digest of bytes held in memory. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** A digest from 64 lower-case hex digits that a hash of ours has printed. */
export function digestFromHex(hex: string): Digest {
  return parseDigest(`sha256:${hex}`);
}

/** The 64 hex digits alone. */
export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** For people: `sha256:3eecc807f63d`. */
export function shortDigest(digest: Digest): string {
  return digest.slice(0, 'sha256:'.length + 12);
}
