import { parseDigest } from '../../src/image/digest.ts';
import { parseManifest, type ResolvedImage } from '../../src/image/manifest.ts';
import { parseImageReference } from '../../src/image/reference.ts';
import type { Store } from '../../src/store/store.ts';
import type { BuiltDescriptor, TestLayout } from '../helpers/images.ts';
import { blobOf } from './blobs.ts';
import { commit } from './blob-store.suite.ts';

/** An image of a test layout as `resolve` hands it on. */
export async function resolved(
  layout: TestLayout,
  name: string,
  manifest: BuiltDescriptor,
  index?: BuiltDescriptor,
): Promise<ResolvedImage> {
  const document = await documentOf(layout, manifest);
  const parsed = parseManifest(document.bytes, manifest.mediaType);
  if (parsed.kind !== 'manifest') throw new Error('an index');
  return {
    reference: parseImageReference(name),
    document,
    manifest: parsed,
    ...(index === undefined ? {} : { index: await documentOf(layout, index) }),
  };
}

/** Its config and layers into the store, as a pull does it. */
export async function fillStore(store: Store, layout: TestLayout, image: ResolvedImage): Promise<void> {
  const { config, layers } = image.manifest;
  for (const digest of new Set([config, ...layers].map((blob) => blob.digest))) {
    if ((await store.stat(digest)) === undefined) await commit(store, blobOf(await layout.blob(digest)));
  }
  await store.recordImage(image);
}

async function documentOf(
  layout: TestLayout,
  { mediaType, digest, size }: BuiltDescriptor,
): Promise<ResolvedImage['document']> {
  return { descriptor: { mediaType, digest: parseDigest(digest), size }, bytes: await layout.blob(digest) };
}
