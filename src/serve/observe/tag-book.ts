import { digestOf, isDigest, type Digest } from '../../image/digest.ts';

/** Digests whose manifests are remembered, the latest; about 200 bytes each. */
const MAX_LINKS = 50_000;
/** Tags of one manifest that are shown. */
const MAX_TAGS = 8;
/** A layer, its manifest, its index, and a squashed image before them. */
const MAX_DEPTH = 4;
/** What is looked at in a manifest; one of Docker's with 127 layers has 30 KB. */
const MAX_LOOKED_AT = 1024 * 1024;
const DIGEST = /"digest"\s*:\s*"(sha(?:256|512):[0-9a-f]{64,128})"/g;

/** Which tags a blob has, as far as manifests passed through here. */
export class TagBook {
  /** `REPOSITORY DIGEST` of what is named in a manifest -> digests of such manifests. */
  readonly #namedIn = new Map<string, Set<Digest>>();
  /** `REPOSITORY DIGEST` -> its tags. */
  readonly #tags = new Map<string, Set<string>>();
  /** `REPOSITORY TAG` -> what it means now. */
  readonly #meanings = new Map<string, Digest>();

  /** A manifest or index was given out under a tag, or a digest. */
  manifest(repository: string, selector: string, bytes: Uint8Array): void {
    if (bytes.length > MAX_LOOKED_AT) return;
    const digest = isDigest(selector) ? selector : digestOf(bytes);
    if (digest !== selector) this.tag(repository, selector, digest);
    // Nothing depends on it but what is shown, so what else stands in the document need not be read.
    for (const [, named = ''] of Buffer.from(bytes).toString('utf8').matchAll(DIGEST))
      if (isDigest(named)) this.link(repository, named, digest);
  }

  /** @param manifest of which the blob was made, or in which it is named */
  link(repository: string, blob: Digest, manifest: Digest): void {
    remember(this.#namedIn, `${repository} ${blob}`, manifest);
  }

  tag(repository: string, tag: string, digest: Digest): void {
    const name = `${repository} ${tag}`;
    const before = this.#meanings.get(name);
    if (before !== undefined && before !== digest) this.#tags.get(`${repository} ${before}`)?.delete(tag);
    this.#meanings.delete(name);
    this.#meanings.set(name, digest);
    forgetOldest(this.#meanings);
    remember(this.#tags, `${repository} ${digest}`, tag);
  }

  tagsOf(repository: string, digest: Digest, depth = 0): string[] {
    const key = `${repository} ${digest}`;
    const tags = new Set(this.#tags.get(key));
    if (depth < MAX_DEPTH)
      for (const manifest of this.#namedIn.get(key) ?? [])
        for (const tag of this.tagsOf(repository, manifest, depth + 1)) tags.add(tag);
    return [...tags].slice(0, MAX_TAGS);
  }
}

/** The latest values of a key, and the latest keys. */
function remember<T>(book: Map<string, Set<T>>, key: string, value: T): void {
  const values = book.get(key) ?? new Set<T>();
  values.delete(value);
  values.add(value);
  const [first] = values;
  if (values.size > MAX_TAGS && first !== undefined) values.delete(first);
  book.delete(key);
  book.set(key, values);
  forgetOldest(book);
}

function forgetOldest(book: Map<string, unknown>): void {
  const [oldest] = book.keys();
  if (book.size > MAX_LINKS && oldest !== undefined) book.delete(oldest);
}
