import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { digestFromHex, digestOf, type Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import {
  blobPath,
  CONTAINERD_NAME,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutFile,
  layoutIndex,
} from '../../image/layout.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../../image/media-types.ts';
import { fileEntry } from '../../tar/entry.ts';
import { BLOCK } from '../../tar/header.ts';
import { mergeLayers } from '../../layers/merge.ts';
import { formatEntry, tarBytes } from '../../tar/writer.ts';
import { paddingOf } from '../../tar/reader.ts';
import type { SourceImage } from '../derived/recipe.ts';
import { squashedConfig } from './squashed-config.ts';

const OCI_GZIP_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** zlib's default, and what registries' layers have: the file crosses a thin pipe, and is made once. */
const GZIP_LEVEL = 6;

/**
 * The image with its layers as one: an archive with `manifest.json` for Docker (moby image/tarexport), which is an
 * OCI image layout, too, for engines that prefer that. The layer comes first: it is written as it is made, and what
 * it is called, its digest, is put in front of it afterwards.
 * @param name in full, with a tag
 * @throws QuayctlError as mergeLayers
 */
export async function writeDockerArchive(
  source: SourceImage,
  name: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'wx+', 0o600);
  try {
    const { layer, diffId } = await writeLayer(source, file, path, signal);
    const config = squashedConfig(source.config, diffId, source.digest);
    const rest = fileEntries(name, layer, config);
    let position = BLOCK + layer.size + paddingOf(layer.size);
    for await (const bytes of tarBytes(rest)) {
      await file.write(bytes, 0, bytes.length, position);
      position += bytes.length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writeLayer(
  source: SourceImage,
  file: FileHandle,
  path: string,
  signal: AbortSignal,
): Promise<{ layer: Descriptor; diffId: Digest }> {
  const tree = await mergeLayers(source.layers, signal);
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  let size = 0;
  try {
    await pipeline(
      tarBytes(tree.entries()),
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          plain.update(chunk);
          yield chunk;
        }
      },
      createGzip({ level: GZIP_LEVEL }),
      async function* (chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          packed.update(chunk);
          size += chunk.length;
          yield chunk;
        }
      },
      createWriteStream(path, { flags: 'r+', start: BLOCK }),
      { signal },
    );
  } finally {
    tree.release();
  }
  const digest = digestFromHex(packed.digest('hex'));
  const { header } = fileEntry(blobPath(digest), new Uint8Array());
  await file.write(formatEntry({ ...header, size }), 0, BLOCK, 0);
  const layer = { mediaType: OCI_GZIP_LAYER, digest, size };
  return { layer, diffId: digestFromHex(plain.digest('hex')) };
}

/** All but the layer. */
async function* fileEntries(
  name: string,
  layer: Descriptor,
  config: Uint8Array,
): AsyncGenerator<ReturnType<typeof fileEntry>> {
  const configBlob = { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length };
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: configBlob, layers: [layer] };
  const manifest = Buffer.from(JSON.stringify(document));
  const target = {
    mediaType: OCI_MANIFEST,
    digest: digestOf(manifest),
    size: manifest.length,
    annotations: { [CONTAINERD_NAME]: name },
  };
  const legacy = [
    { Config: blobPath(configBlob.digest), RepoTags: [name], Layers: [blobPath(layer.digest)] },
  ];
  yield fileEntry(blobPath(configBlob.digest), config);
  yield fileEntry(blobPath(target.digest), manifest);
  yield fileEntry(LAYOUT_FILE, layoutFile());
  yield fileEntry(INDEX_FILE, layoutIndex([target]));
  yield fileEntry('manifest.json', Buffer.from(JSON.stringify(legacy)));
}
