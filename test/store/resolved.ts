import { buffer } from 'node:stream/consumers';
import { digestOf } from '../../src/image/digest.ts';
import type { ManifestDocument, ResolvedImage } from '../../src/image/manifest.ts';
import { parseManifest } from '../../src/image/manifest.ts';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.ts';
import type { Platform } from '../../src/image/platform.ts';
import { parseImageReference } from '../../src/image/reference.ts';
import type { Store } from '../../src/store/store.ts';
import { blobOf, patience, type TestBlob } from './blobs.ts';

/** An image as a registry would have resolved it, with the blobs that belong to it. */
export interface TestImage extends ResolvedImage {
  readonly config: TestBlob;
  readonly layers: readonly TestBlob[];
}

/** @param platform that the config names */
export function imageOf(
  name: string,
  layers: readonly TestBlob[],
  platform: Platform = { os: 'linux', architecture: 'amd64' },
): TestImage {
  const diffIds = layers.map(({ descriptor }) => descriptor.digest);
  const config = blobOf(json({ ...platform, rootfs: { type: 'layers', diff_ids: diffIds } }));
  const document = documentOf(OCI_MANIFEST, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { ...config.descriptor, mediaType: OCI_CONFIG },
    layers: layers.map(({ descriptor }) => ({
      ...descriptor,
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
    })),
  });
  const manifest = parseManifest(document.bytes);
  if (manifest.kind !== 'manifest') throw new Error('not a manifest');
  return { reference: parseImageReference(name), document, manifest, config, layers };
}

/** The same images as entries of one index. */
export function indexOf(images: readonly (readonly [TestImage, Platform])[]): TestImage[] {
  const index = documentOf(OCI_INDEX, {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: images.map(([{ document }, platform]) => ({ ...document.descriptor, platform })),
  });
  return images.map(([image]) => ({ ...image, index }));
}

/** Its blobs into the store, and its name. */
export async function pullInto(store: Store, image: TestImage): Promise<void> {
  for (const blob of [image.config, ...image.layers]) await commitInto(store, blob);
  await store.recordImage(image);
}

export async function commitInto(store: Store, { bytes, descriptor }: TestBlob): Promise<void> {
  const partial = await store.begin(descriptor, patience());
  if (partial === 'present') return;
  await partial.write(0, bytes);
  await partial.commit();
  await partial.close();
}

/** What of an image is in the store, and reads back as it is. */
export async function isWhole(store: Store, { config, layers, document }: TestImage): Promise<boolean> {
  const blobs = [document.descriptor, config.descriptor, ...layers.map(({ descriptor }) => descriptor)];
  for (const { digest, size } of blobs) {
    if ((await store.stat(digest)) !== size) return false;
    if (digestOf(await buffer(await store.stream(digest))) !== digest) return false;
  }
  return true;
}

function documentOf(mediaType: string, value: unknown): ManifestDocument {
  const bytes = json(value);
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
