import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { BuiltDescriptor, TestLayout } from './images.ts';

export interface PushTarget {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly repository: string;
  readonly tag: string;
  /** Value of the Authorization header. */
  readonly authorization?: string;
}

interface ManifestJson {
  readonly config?: BuiltDescriptor;
  readonly layers?: readonly BuiltDescriptor[];
  readonly manifests?: readonly BuiltDescriptor[];
}

/** Pushes an image or an index with all that it names, as it is, by the distribution API. */
export async function pushImage(
  layout: TestLayout,
  manifest: BuiltDescriptor,
  target: PushTarget,
): Promise<void> {
  const bytes = await layout.blob(manifest.digest);
  const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString()) as ManifestJson;
  for (const child of manifests) await pushImage(layout, child, { ...target, tag: child.digest });
  const blobs = [...(config === undefined ? [] : [config]), ...layers];
  for (const blob of blobs) await pushBlob(layout, blob.digest, target);
  await pushManifest(manifest.mediaType, bytes, target);
}

/** Any bytes as a manifest, under a tag or digest; the registry decides whether it takes them. */
export async function pushManifest(mediaType: string, bytes: Uint8Array, target: PushTarget): Promise<void> {
  const url = `${target.url}/v2/${target.repository}/manifests/${target.tag}`;
  await expectStatus(201, url, {
    method: 'PUT',
    body: Buffer.from(bytes),
    headers: { ...authorization(target), 'content-type': mediaType },
  });
}

async function pushBlob(layout: TestLayout, digest: string, target: PushTarget): Promise<void> {
  const base = `${target.url}/v2/${target.repository}/blobs`;
  const headers = authorization(target);
  if ((await fetch(`${base}/${digest}`, { method: 'HEAD', headers })).ok) return;
  const begun = await expectStatus(202, `${base}/uploads/`, { method: 'POST', headers });
  const location = new URL(begun.headers.get('location') ?? '', target.url);
  location.searchParams.set('digest', digest);
  await expectStatus(201, location, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    body: Readable.toWeb(createReadStream(layout.blobPath(digest))) as ReadableStream,
    duplex: 'half',
  });
}

async function expectStatus(
  status: number,
  url: string | URL,
  init: RequestInit & { duplex?: 'half' },
): Promise<Response> {
  const response = await fetch(url, init);
  const text = await response.text();
  if (response.status !== status)
    throw new Error(`${init.method} ${String(url)}: ${response.status} ${text}`);
  return response;
}

function authorization(target: PushTarget): Record<string, string> {
  return target.authorization === undefined ? {} : { authorization: target.authorization };
}
