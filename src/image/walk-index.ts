import { QuayctlError } from '../base/errors.ts';
import type { Digest } from './digest.ts';
import type { ImageIndex, ImageManifest } from './manifest.ts';
import { choosePlatform, type Platform } from './platform.ts';

/**
 * How many indexes may stand above a manifest. OCI allows an index in an index, and some registries hold such images
 * (buildkit makes them); deeper nesting has not been seen and would only keep a reader busy.
 */
const MAX_NESTED_INDEXES = 2;

/** A document with what it says. */
interface Parsed {
  readonly parsed: ImageManifest | ImageIndex;
}

/** From a tag or digest down to one platform's manifest. */
export interface ChosenManifest<Document> {
  /** The outermost index; absent where the name leads to a manifest directly. */
  readonly index: Document | undefined;
  /** The index in which the manifest itself stands, where that is another one. */
  readonly innerIndex: Document | undefined;
  readonly document: Document;
  readonly manifest: ImageManifest;
}

/**
 * Follows a name to the manifest of one platform.
 * @param selector tag or digest
 * @param platform asked for only when there is something to choose
 * @param read a document that has been checked against its digest
 * @throws QuayctlError `not-found` for a platform that is not there, `unsupported` for indexes nested too deeply; what
 *   `read` throws
 */
export async function chooseManifest<Document extends Parsed>(
  selector: string,
  platform: () => Platform | Promise<Platform>,
  read: (selector: string) => Promise<Document>,
): Promise<ChosenManifest<Document>> {
  let document = await read(selector);
  let index: Document | undefined;
  let innerIndex: Document | undefined;
  for (let depth = 0; document.parsed.kind === 'index' && depth < MAX_NESTED_INDEXES; depth++) {
    if (index === undefined) index = document;
    else innerIndex = document;
    const chosen = choosePlatform(document.parsed.manifests, await platform());
    document = await read(chosen.digest);
  }
  const { parsed } = document;
  if (parsed.kind === 'manifest') return { index, innerIndex, document, manifest: parsed };
  throw new QuayctlError(
    'unsupported',
    `${selector}: indexes are nested more than ${MAX_NESTED_INDEXES} deep`,
  );
}

/**
 * Walks through indexes, the outermost level first. A document that several indexes list is visited once.
 * @param roots digests, or what stands for one at the top (a tag)
 * @param read undefined for a document that cannot be read and is to be passed over
 * @throws what `read` throws
 */
export async function* walkIndex<Root extends string>(
  roots: readonly (Root | Digest)[],
  read: (selector: Root | Digest) => Promise<ImageManifest | ImageIndex | undefined>,
): AsyncGenerator<{
  readonly selector: Root | Digest;
  readonly parsed: ImageManifest | ImageIndex | undefined;
}> {
  const seen = new Set<string>();
  let level = roots;
  for (let depth = 0; level.length > 0 && depth <= MAX_NESTED_INDEXES; depth++) {
    const next: Digest[] = [];
    for (const selector of level) {
      if (seen.has(selector)) continue;
      seen.add(selector);
      const parsed = await read(selector);
      yield { selector, parsed };
      if (parsed?.kind === 'index') next.push(...parsed.manifests.map(({ digest }) => digest));
    }
    level = next;
  }
}
