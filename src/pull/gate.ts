import type { Digest } from '../image/digest.ts';
import type { ImageManifest } from '../image/manifest.ts';

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
 * @throws QuayctlError `refused`; `no-report` where nobody can tell, which is not a yes
 */
export type Gate = (image: GatedImage, signal: AbortSignal) => Promise<void>;

/**
 * Delivers once the gate has let the image pass. Blobs are fetched meanwhile, and the first of them that fails ends the
 * waiting.
 * @throws what the gate, the blobs or the delivery throw
 */
export async function deliverGated(
  gate: Gate | undefined,
  image: GatedImage,
  fetched: Promise<unknown>,
  signal: AbortSignal,
  deliver: () => Promise<void>,
): Promise<void> {
  if (gate !== undefined) {
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
  await deliver();
}
