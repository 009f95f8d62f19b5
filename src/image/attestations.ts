import type { Descriptor } from './descriptor.ts';
import { parseManifest, type ResolvedImage } from './manifest.ts';
import { attestationsOf } from './platform.ts';

/**
 * The attestations that stand beside an image's manifest in its index (buildkit's attestation storage).
 * @returns their entries; none where the image was found without an index
 */
export function attestationsListed({ index, innerIndex, document }: ResolvedImage): Descriptor[] {
  const listing = innerIndex ?? index;
  if (listing === undefined) return [];
  const parsed = parseManifest(listing.bytes, listing.descriptor.mediaType);
  return parsed.kind === 'index' ? attestationsOf(parsed.manifests, document.descriptor.digest) : [];
}
