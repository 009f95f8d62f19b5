import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import {
  parseManifest,
  type ImageIndex,
  type ImageManifest,
  type ManifestDocument,
  type ResolvedImage,
} from '../image/manifest.ts';

/** The size of all documents together. A manifest has a few kilobytes; MAX_MANIFEST_BYTES is the bound of one. */
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_TAGS = 10_000;
const MAX_BLOBS = 50_000;

/** A manifest or index that a registry has given, its digest checked. */
export interface KnownManifest extends ManifestDocument {
  /** Undefined for documents that are no image: they are handed on all the same. */
  readonly parsed: ImageManifest | ImageIndex | undefined;
}

/** The manifests of one registry that engines have asked for lately, and which blobs and tags lead to them. */
export class KnownManifests {
  readonly #registry: string;
  /** The latest at the end, as in the other maps. */
  readonly #documents = new Map<Digest, KnownManifest>();
  readonly #tags = new Map<string, Digest>();
  /** By repository and blob. */
  readonly #listedBy = new Map<string, Digest>();
  /** By the digest of a platform's manifest. */
  readonly #indexOf = new Map<Digest, Digest>();
  #bytes = 0;

  constructor(registry: string) {
    this.#registry = registry;
  }

  /** @param document its digest is that of its bytes */
  add(repository: string, document: ManifestDocument): KnownManifest {
    const { digest, mediaType } = document.descriptor;
    const known = { ...document, parsed: parsedOrNot(document.bytes, mediaType) };
    this.#bytes -= this.#documents.get(digest)?.bytes.length ?? 0;
    this.#bytes += document.bytes.length;
    put(this.#documents, digest, known, Infinity);
    for (const [oldest, { bytes }] of this.#documents) {
      if (this.#bytes <= MAX_BYTES) break;
      this.#documents.delete(oldest);
      this.#bytes -= bytes.length;
    }
    for (const { digest: child } of childrenOf(known)) {
      if (known.parsed?.kind === 'index') put(this.#indexOf, child, digest, MAX_BLOBS);
      else put(this.#listedBy, `${repository} ${child}`, digest, MAX_BLOBS);
    }
    return known;
  }

  /** The registry has just said what a tag means. */
  noteTag(repository: string, tag: string, digest: Digest): void {
    put(this.#tags, `${repository}:${tag}`, digest, MAX_TAGS);
  }

  digestOfTag(repository: string, tag: string): Digest | undefined {
    return this.#tags.get(`${repository}:${tag}`);
  }

  find(digest: Digest): KnownManifest | undefined {
    return this.#documents.get(digest);
  }

  /** The image that lists a blob, as the store records it; undefined where no known manifest does. */
  imageOf(repository: string, blob: Digest): ResolvedImage | undefined {
    const digest = this.#listedBy.get(`${repository} ${blob}`);
    const document = digest === undefined ? undefined : this.find(digest);
    if (document?.parsed?.kind !== 'manifest') return undefined;
    const { parsed: manifest, descriptor } = document;
    const index = this.#index(descriptor.digest);
    const top = index?.descriptor.digest ?? descriptor.digest;
    const tag = this.#tagOf(repository, [top, descriptor.digest]);
    const reference = {
      registry: this.#registry,
      repository,
      ...(tag === undefined ? { digest: top } : { tag }),
    };
    return { reference, document, manifest, ...(index === undefined ? {} : { index }) };
  }

  #index(manifest: Digest): KnownManifest | undefined {
    const digest = this.#indexOf.get(manifest);
    return digest === undefined ? undefined : this.find(digest);
  }

  #tagOf(repository: string, digests: readonly Digest[]): string | undefined {
    const prefix = `${repository}:`;
    const names = [...this.#tags].filter(
      ([name, digest]) => name.startsWith(prefix) && digests.includes(digest),
    );
    return names.at(-1)?.[0].slice(prefix.length);
  }
}

/** What a document leads to: the manifests of an index, or config and layers. */
export function childrenOf({ parsed }: Pick<KnownManifest, 'parsed'>): readonly Descriptor[] {
  if (parsed === undefined) return [];
  return parsed.kind === 'index' ? parsed.manifests : [parsed.config, ...parsed.layers];
}

function parsedOrNot(bytes: Uint8Array, mediaType: string): ImageManifest | ImageIndex | undefined {
  try {
    return parseManifest(bytes, mediaType);
  } catch {
    return undefined;
  }
}

function put<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, most: number): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (map.size >= most && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
