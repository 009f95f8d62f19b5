import type { Digest } from '../image/digest.ts';
import type { ImageManifest, ResolvedImage } from '../image/manifest.ts';
import { formatReference } from '../image/reference.ts';

/** An image that is about to be delivered. */
export interface GatedImage {
  /** In full. */
  readonly name: string;
  /** Of the platform's manifest; for what was made of an image, of that image's. */
  readonly digest: Digest;
  /** Undefined where only its digest is known. */
  readonly manifest: ImageManifest | undefined;
}

/**
 * Decides whether an image may be delivered (`--max-severity`).
 * @throws QuayctlError `refused`; `no-report` where no service has a report, which is not a yes
 */
export type Gate = (image: GatedImage, signal: AbortSignal) => Promise<void>;

/** An image, and who decides about it. */
export interface GatedPull {
  readonly gate: Gate;
  readonly image: GatedImage;
}

/**
 * Resolves when the gate has let the image pass. Blobs are fetched meanwhile, and the first of them that fails ends the
 * waiting.
 * @throws what the gate or the blobs throw
 */
export async function passGate(
  { gate, image }: GatedPull,
  fetched: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const verdict = gate(image, AbortSignal.any([signal, stop.signal]));
  try {
    await Promise.race([verdict, fetched.then(() => verdict)]);
  } catch (error) {
    stop.abort(error);
    await verdict.catch(() => undefined);
    throw error;
  }
}

/** An image of a registry, or what is made of it: reports know it by its manifest. */
export function gatedImage({ reference, document, manifest }: ResolvedImage): GatedImage {
  return { name: formatReference(reference), digest: document.descriptor.digest, manifest };
}
