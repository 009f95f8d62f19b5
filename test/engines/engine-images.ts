import { execFileSync } from 'node:child_process';
import { createReadStream, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import type { FileFeed, LoadOptions } from '../../src/engines/engine.ts';
import { parseImageConfig } from '../../src/image/config.ts';
import type { Digest } from '../../src/image/digest.ts';
import { parseManifest, type ManifestDocument, type RunnableImage } from '../../src/image/manifest.ts';
import { parseImageReference } from '../../src/image/reference.ts';
import type { DockerdKind } from '../helpers/dockerd.ts';
import { randomLayer, TestLayout, type BuiltDescriptor, type BuiltImage } from '../helpers/images.ts';
import type { LayerEntry, LayerSpec } from '../helpers/layers.ts';
import { tempDirectory } from '../helpers/temp.ts';

export const MB = 1_000_000;

/** A signal for what nobody interrupts. */
export const NEVER = new AbortController().signal;

/** What an engine is given for an image of a layout. */
export async function runnable(
  layout: TestLayout,
  built: Pick<BuiltImage, 'manifest'>,
  name: string,
  index?: BuiltDescriptor,
  innerIndex?: BuiltDescriptor,
): Promise<RunnableImage> {
  const document = await documentOf(layout, built.manifest);
  const manifest = parseManifest(document.bytes, document.descriptor.mediaType);
  if (manifest.kind !== 'manifest') throw new Error('not a manifest');
  return {
    reference: parseImageReference(name),
    document,
    manifest,
    config: parseImageConfig(await layout.blob(manifest.config.digest), manifest),
    ...(index === undefined ? {} : { index: await documentOf(layout, index) }),
    ...(innerIndex === undefined ? {} : { innerIndex: await documentOf(layout, innerIndex) }),
  };
}

async function documentOf(layout: TestLayout, described: BuiltDescriptor): Promise<ManifestDocument> {
  const { mediaType, digest, size } = described;
  return { descriptor: { mediaType, digest: digest as Digest, size }, bytes: await layout.blob(digest) };
}

/** Blobs as the pull gives them out; which are ready is the test's to say. */
export class TestFeed implements FileFeed {
  readonly #layout: TestLayout;
  readonly #held = new Map<Digest, PromiseWithResolvers<void>>();
  /** What was read, in order. */
  readonly streamed: Digest[] = [];
  #lost: Digest | undefined;
  #onStream: (digest: Digest) => void = () => undefined;
  readonly #awaited = new Map<Digest, PromiseWithResolvers<void>>();

  /** @param held are not ready yet */
  constructor(layout: TestLayout, held: readonly Digest[] = []) {
    this.#layout = layout;
    for (const digest of held) {
      const arrival = Promise.withResolvers<void>();
      // It may fail before the engine looks for it.
      arrival.promise.catch(() => undefined);
      this.#held.set(digest, arrival);
    }
  }

  arrive(digest: Digest): void {
    this.#held.get(digest)?.resolve();
  }

  /** As if it had never been downloaded. */
  lose(digest: Digest | undefined): void {
    this.#lost = digest;
  }

  fail(digest: Digest, error: Error): void {
    this.#held.get(digest)?.reject(error);
  }

  /** Resolves when a blob is read for the first time from now on. */
  whenStreamed(digest: Digest): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onStream = (read) => {
      if (read === digest) resolve();
    };
    return promise;
  }

  /** Resolves as soon as the engine waits for a blob, or has. */
  whenAwaited(digest: Digest): Promise<void> {
    return this.#wait(digest).promise;
  }

  async ready(digest: Digest): Promise<void> {
    this.#wait(digest).resolve();
    await this.#held.get(digest)?.promise;
  }

  file(digest: Digest): string {
    this.streamed.push(digest);
    this.#onStream(digest);
    return this.#layout.blobPath(digest);
  }

  stream(digest: Digest): Promise<Readable> {
    if (digest === this.#lost) return Promise.reject(new QuayctlError('not-found', `no blob ${digest}`));
    this.streamed.push(digest);
    this.#onStream(digest);
    return Promise.resolve(createReadStream(this.#layout.blobPath(digest)));
  }

  #wait(digest: Digest): PromiseWithResolvers<void> {
    const wait = this.#awaited.get(digest) ?? Promise.withResolvers<void>();
    this.#awaited.set(digest, wait);
    return wait;
  }
}

/** A layer with a shell, so that containers of the image can look at their own files. */
export function shellLayer(): LayerSpec {
  const libraries = execFileSync('ldd', ['/bin/sh'], { encoding: 'utf8' }).matchAll(/(\/\S+) \(/g);
  const paths = ['/bin/sh', ...Array.from(libraries, ([, path]) => path ?? '')];
  return { entries: paths.map((path) => file(path.slice(1), readFileSync(path))) };
}

export function file(name: string, content: NonNullable<LayerEntry['content']>): LayerEntry {
  return { name, mode: 0o755, content };
}

/** Four layers large enough that they are not simply sent in one piece. @param wrong the layer whose diff ID is another one */
export async function fourLayers(layout: TestLayout, seed: string, wrong?: number): Promise<RunnableImage> {
  const sizes = [9 * MB, 5 * MB, 5 * MB, 5 * MB];
  const built = await layout.addImage({
    layers: sizes.map((size, at) => randomLayer(size, `${seed}-${at}`)),
  });
  const name = `quay.example/team/${seed}:1`;
  if (wrong === undefined) return runnable(layout, built, name);
  const config = JSON.parse((await layout.blob(built.config.digest)).toString()) as {
    rootfs: { diff_ids: string[] };
  };
  config.rootfs.diff_ids[wrong] = `sha256:${'0'.repeat(64)}`;
  const manifest = JSON.parse((await layout.blob(built.manifest.digest)).toString()) as object;
  const described = await layout.addJson(built.config.mediaType, config);
  const changed = await layout.addJson(built.manifest.mediaType, { ...manifest, config: described });
  return runnable(layout, { manifest: changed }, name);
}

export async function newLayout(t: TestContext): Promise<TestLayout> {
  return TestLayout.create(await tempDirectory(t, 'layout'));
}

export function loadOptions(image: RunnableImage, more: Partial<LoadOptions> = {}): LoadOptions {
  const { registry, repository, tag } = image.reference;
  return {
    names: tag === undefined ? [] : [{ registry, repository, tag }],
    recordDigest: false,
    presence: { image: false, layers: image.manifest.layers.map(() => false) },
    signal: NEVER,
    ...more,
  };
}

/** What Docker calls an image, by the store that it lies in. */
export function dockerId({ manifest, index, document }: RunnableImage, kind: DockerdKind): Digest {
  return kind === 'containerd' ? (index ?? document).descriptor.digest : manifest.config.digest;
}

export function layerDigests(image: RunnableImage): Digest[] {
  return image.manifest.layers.map(({ digest }) => digest);
}
