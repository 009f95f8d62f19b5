import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { parseImageReference } from '../../image/reference.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { digestOf, type Digest } from '../../image/digest.ts';
import {
  blobPath,
  checkLayoutFile,
  CONTAINERD_NAME,
  INDEX_FILE,
  LAYOUT_FILE,
  parseLayoutIndex,
  REF_NAME,
} from '../../image/layout.ts';
import { MAX_MANIFEST_BYTES, parseManifest, type ImageIndex } from '../../image/manifest.ts';
import { walkIndex } from '../../image/walk-index.ts';
import { isIndexType } from '../../image/media-types.ts';
import { isRepository, isTag } from '../../http-server/path.ts';
import type { LayoutFiles } from './layout-files.ts';

/** What a layout offers, by the names of the distribution API. */
export interface LayoutListing {
  /** Repository -> tag -> manifest or index. */
  readonly repositories: ReadonlyMap<string, ReadonlyMap<string, Digest>>;
  /** The media type of every manifest and index that the layout's index leads to. */
  readonly mediaTypes: ReadonlyMap<Digest, string>;
}

/** Manifests that are read of an OCI layout. */
const MAX_ENTRIES = 100_000;

/** The size of a layout's index.json. */
const MAX_LAYOUT_BYTES = 64 * 1024 * 1024;

/** Reads a layout's indexes, again whenever index.json has changed. */
export class LayoutContents {
  readonly #directory: string;
  readonly #files: LayoutFiles;
  readonly #warn: (message: string) => void;
  #stamp = '';
  #listing: Promise<LayoutListing> | undefined;

  constructor(directory: string, files: LayoutFiles, warn: (message: string) => void) {
    this.#directory = directory;
    this.#files = files;
    this.#warn = warn;
  }

  /** @throws QuayctlError `unreachable` where the directory holds no layout that can be read */
  async current(): Promise<LayoutListing> {
    try {
      const { mtimeMs, size, ino } = await stat(join(this.#directory, INDEX_FILE));
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (this.#listing === undefined || stamp !== this.#stamp) {
        this.#stamp = stamp;
        this.#listing = this.#read();
      }
      return await this.#listing;
    } catch (error) {
      this.#listing = undefined;
      throw new QuayctlError('unreachable', `no OCI layout can be read in ${this.#directory}`, {
        cause: error,
      });
    }
  }

  async #read(): Promise<LayoutListing> {
    checkLayoutFile(await this.#files.read(LAYOUT_FILE, MAX_LAYOUT_BYTES));
    const { manifests } = parseLayoutIndex(await this.#files.read(INDEX_FILE, MAX_LAYOUT_BYTES));
    const repositories = new Map<string, Map<string, Digest>>();
    const mediaTypes = new Map<Digest, string>();
    const own = ownRepository(this.#directory);
    // Images without a name are reached by digest, in the layout's own repository.
    if (own !== undefined) repositories.set(own, new Map());

    const sizes = new Map<Digest, number>();
    const note = (descriptor: Descriptor, isNested: boolean): void => {
      const { digest, mediaType, size } = descriptor;
      this.#name(repositories, descriptor, own, isNested);
      if (!mediaTypes.has(digest)) mediaTypes.set(digest, mediaType);
      sizes.set(digest, size);
      if (mediaTypes.size > MAX_ENTRIES)
        throw new QuayctlError('limit', `more than ${MAX_ENTRIES} manifests`);
    };
    for (const descriptor of manifests) note(descriptor, false);
    const read = (digest: Digest): Promise<ImageIndex | undefined> =>
      this.#index(digest, mediaTypes.get(digest) ?? '', sizes.get(digest) ?? 0);
    for await (const { parsed } of walkIndex(
      manifests.map(({ digest }) => digest),
      read,
    )) {
      if (parsed?.kind === 'index') for (const descriptor of parsed.manifests) note(descriptor, true);
    }
    return { repositories, mediaTypes };
  }

  #name(
    repositories: Map<string, Map<string, Digest>>,
    descriptor: Descriptor,
    own: string | undefined,
    mayDiffer = false,
  ): void {
    const refName = descriptor.annotations?.[REF_NAME];
    const fullName = descriptor.annotations?.[CONTAINERD_NAME];
    // `docker save` and `nerdctl save` write the tag alone into the ref name, of every image the same one.
    const isBare = refName === undefined || !refName.includes(':');
    const named = isBare && fullName !== undefined ? splitFullName(fullName) : undefined;
    if (named !== undefined) this.#tag(repositories, named, descriptor);
    if (refName === undefined) return;
    const name = splitRefName(refName, own);
    if (name === undefined) {
      this.#warn(
        `the layout's ref name ${JSON.stringify(refName.slice(0, 200))} is no repository and tag: left out`,
      );
      return;
    }
    const served = this.#tag(repositories, name, descriptor);
    if (served === descriptor.digest || named !== undefined || mayDiffer) return;
    this.#warn(
      `the layout has several images named ${JSON.stringify(refName.slice(0, 200))}: ${served} is served under it, ` +
        `${descriptor.digest} by its digest alone`,
    );
  }

  /** @returns what the name leads to: the outermost entry wins, as an index stands above its platforms */
  #tag(
    repositories: Map<string, Map<string, Digest>>,
    { repository, tag }: ImageName,
    { digest }: Descriptor,
  ): Digest {
    const tags = repositories.get(repository) ?? new Map<string, Digest>();
    repositories.set(repository, tags);
    const served = tags.get(tag) ?? digest;
    tags.set(tag, served);
    return served;
  }

  /** A nested index; undefined where it is none, missing or broken: the rest of the layout is still good. */
  async #index(digest: Digest, mediaType: string, size: number): Promise<ImageIndex | undefined> {
    if (!isIndexType(mediaType) || size > MAX_MANIFEST_BYTES) return undefined;
    try {
      const bytes = await this.#files.read(blobPath(digest), MAX_MANIFEST_BYTES);
      if (digestOf(bytes) !== digest)
        throw new QuayctlError('verification', 'its content has another digest');
      const index = parseManifest(bytes, mediaType);
      return index.kind === 'index' ? index : undefined;
    } catch (error) {
      this.#warn(
        `the layout's index ${digest} cannot be read: ${error instanceof Error ? error.message : 'unknown'}`,
      );
      return undefined;
    }
  }
}

interface ImageName {
  readonly repository: string;
  readonly tag: string;
}

/** `docker.io/library/ubuntu:22.04`, as containerd, docker and nerdctl write it; the registry says nothing here. */
function splitFullName(fullName: string): ImageName | undefined {
  try {
    const { repository, tag } = parseImageReference(fullName);
    return tag === undefined ? undefined : { repository, tag };
  } catch (error) {
    if (isQuayctlError(error)) return undefined;
    throw error;
  }
}

/** A registry's host before a repository: it has a dot or a port, or is localhost (the rule of Docker's references). */
const WITH_HOST = /^(?:[^/]*[.:][^/]*|localhost)\//;

/**
 * `team/app:1.0`; `registry.example.com:5000/team/app:1.0`, as quayctl's own exports and skopeo write it, of which the
 * registry says nothing here; or a bare tag, which belongs to the repository named like the directory.
 */
function splitRefName(refName: string, own: string | undefined): ImageName | undefined {
  if (WITH_HOST.test(refName)) return splitFullName(refName);
  const colon = refName.lastIndexOf(':');
  const repository = colon < 0 ? own : refName.slice(0, colon);
  const tag = refName.slice(colon + 1);
  return repository !== undefined && isRepository(repository) && isTag(tag) ? { repository, tag } : undefined;
}

function ownRepository(directory: string): string | undefined {
  const name = basename(resolve(directory)).toLowerCase();
  return isRepository(name) ? name : undefined;
}
