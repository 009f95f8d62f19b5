import { digestHex, type Digest } from './digest.ts';

const SUFFIX = '.squash';
/** Longest tag (OCI distribution-spec). */
const MAX_TAG = 128;
/** As much of a digest as people compare. */
const HEX_DIGITS = 12;

/**
 * The tag of a squashed image: `1.0.squash`; without a tag, or with one that has no room for more,
 * `sha256-3eecc807f63d.squash`.
 */
export function squashedTag(tag: string | undefined, digest: Digest): string {
  const named = `${tag ?? ''}${SUFFIX}`;
  if (tag !== undefined && named.length <= MAX_TAG) return named;
  return `sha256-${digestHex(digest).slice(0, HEX_DIGITS)}${SUFFIX}`;
}
