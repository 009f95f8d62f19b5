import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { digestFromHex, type Digest } from '../image/digest.ts';
import { Budget } from './budget.ts';
import { plainBytes } from './decompress.ts';
import type { TarEntry } from '../tar/entry.ts';
import { LayerTree } from './layer-tree.ts';
import { MergedTree } from './merged-tree.ts';
import { overlay } from './overlay.ts';
import { readTar } from '../tar/reader.ts';
import { emptyTree } from './tree.ts';

/** A layer that can be read several times, from its beginning. Its blob's digest is the caller's to check, before. */
export interface LayerSource {
  /** For messages: `layer sha256:3eecc807f63d`. */
  readonly name: string;
  /** SHA-256 of its plain tar, as the image config has it (OCI image-spec config.md, `rootfs.diff_ids`). */
  readonly diffId: Digest;
  /** The blob: a tar, plain or compressed as `plainBytes` takes it. */
  open(): Promise<Readable>;
}

/**
 * The layers of an image, base first, as one tree: what a container of that image would see (OCI image-spec layer.md).
 * The headers are read once, and kept; the plain bytes are compared with the layer's diff ID meanwhile, for the digest
 * of the blob says nothing about what a decoder makes of it. Content is read when the tree is written, layer by layer,
 * and never held:
 *
 *     const tree = await mergeLayers(layers, signal);
 *     const own = async function* () {
 *       yield fileEntry('manifest', manifest);
 *       for await (const { header, content } of tree.entries()) {
 *         const path = header.path === '' ? 'rootfs' : `rootfs/${header.path}`;
 *         const linkPath = header.type === 'hardlink' ? `rootfs/${header.linkPath}` : header.linkPath;
 *         yield { header: { ...header, path, linkPath }, content };
 *       }
 *     };
 *     await pipeline(tarBytes(own()), createWriteStream('image.aci'));
 *
 * Beside whiteouts and opaque directories as the OCI spells them, those of overlayfs are taken (a device 0:0,
 * `trusted.overlay.opaque`). A whiteout hides only what is in the layers below, wherever it stands in its own.
 * Memory: about 600 bytes for each name, until the tree is released; all images of a process share it.
 * @throws QuayctlError `protocol` for what is no tar, or has a file for a directory, or links to nothing;
 *   `unsupported` for entries that no engine unpacks; `limit`; `verification` for damaged compression and another diff ID; what `open` fails with
 */
export async function mergeLayers(layers: readonly LayerSource[], signal: AbortSignal): Promise<MergedTree> {
  const budget = new Budget();
  const merged = emptyTree();
  for (const [at, layer] of layers.entries()) {
    const upper = new LayerTree(at, merged, budget);
    const hash = createHash('sha256');
    try {
      let entry = 0;
      const entries = layerEntries(layer, budget, signal, (chunk) => hash.update(chunk));
      for await (const { header } of entries) upper.add(header, entry++);
      if (digestFromHex(hash.digest('hex')) !== layer.diffId) {
        throw new QuayctlError('verification', 'its content is not that of its diff ID in the image config');
      }
    } catch (error) {
      budget.release();
      throw inLayer(layer, error);
    }
    overlay(merged, upper.root);
  }
  const readLayer = (at: number): AsyncIterable<TarEntry> =>
    layerEntries(layers[at] as LayerSource, new Budget(), signal);
  return new MergedTree(merged, readLayer, () => budget.release());
}

async function* layerEntries(
  layer: LayerSource,
  budget: Budget,
  signal: AbortSignal,
  onPlainBytes: (chunk: Uint8Array) => void = () => undefined,
): AsyncGenerator<TarEntry> {
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of plainBytes(await layer.open(), (bytes) => budget.packed(bytes))) {
      signal.throwIfAborted();
      budget.plain(chunk.length);
      onPlainBytes(chunk);
      yield chunk;
    }
  };
  yield* readTar(counted());
}

function inLayer({ name }: LayerSource, error: unknown): unknown {
  if (!isQuayctlError(error)) return error;
  return new QuayctlError(error.code, `${name}: ${error.message}`, { cause: error.cause, hint: error.hint });
}
