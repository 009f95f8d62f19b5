import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf, isDigest, type Digest } from '../../image/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../../image/manifest.ts';
import { isIndexType } from '../../image/media-types.ts';
import { writePrivateFile } from '../torrents/private-file.ts';

/** A manifest or index as the upstream gave it. */
export interface KeptManifest {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface ManifestCacheLimits {
  /** Names that are kept: some hundred bytes each. */
  readonly maxNames: number;
  /** The size of all documents together. */
  readonly maxBytes: number;
}

/**
 * Manifests that are kept for the time when the upstream does not answer: the names that a busy site pulls in months.
 */
const LIMITS: ManifestCacheLimits = { maxNames: 10_000, maxBytes: 200_000_000 };
/** What goes at once where there is no room, so that not every new one makes us look through the directory. */
const SHARE_DROPPED = 0.1;
const MAX_RECORD_BYTES = 1024;

/**
 * Manifests that this service has served, for the time when the upstream does not answer: which one a repository and a tag or
 * digest meant in `manifests/names/HASH` ({mediaType, digest}), and each document once in `manifests/documents/HEX`, however
 * many names it has. What is not whole counts as absent.
 */
export class ManifestCache {
  readonly #names: string;
  readonly #documents: string;
  readonly #limits: ManifestCacheLimits;
  #used: Promise<Usage> | undefined;

  constructor(dataDirectory: string, limits: ManifestCacheLimits = LIMITS) {
    this.#names = join(dataDirectory, 'manifests', 'names');
    this.#documents = join(dataDirectory, 'manifests', 'documents');
    this.#limits = limits;
  }

  /**
   * An index is not replaced by one of its own manifests, which the upstream gives under the same tag to whoever does not
   * accept indexes.
   * @throws an error of the file system
   */
  async keep(repository: string, selector: string, { mediaType, bytes }: KeptManifest): Promise<void> {
    const digest = digestOf(bytes);
    const known = await this.find(repository, selector);
    if (known?.mediaType === mediaType && digestOf(known.bytes) === digest) return;
    if (known !== undefined && isChildOf(known, digest)) return;
    await this.#makeRoom(bytes.length);
    await writePrivateFile(join(this.#documents, digestHex(digest)), bytes);
    const record = Buffer.from(JSON.stringify({ mediaType, digest }));
    await writePrivateFile(this.#name(repository, selector), record);
  }

  async find(repository: string, selector: string): Promise<KeptManifest | undefined> {
    try {
      const record = parseRecord(await readSmall(this.#name(repository, selector), MAX_RECORD_BYTES));
      if (record === undefined) return undefined;
      const bytes = await readSmall(join(this.#documents, digestHex(record.digest)), MAX_MANIFEST_BYTES);
      return digestOf(bytes) === record.digest ? { mediaType: record.mediaType, bytes } : undefined;
    } catch {
      return undefined;
    }
  }

  /** The ones that were written longest ago go; what is pulled often is written again. */
  async #makeRoom(bytes: number): Promise<void> {
    const { maxNames, maxBytes } = this.#limits;
    let used = await (this.#used ??= this.#measure());
    if (used.names >= maxNames || used.bytes + bytes > maxBytes) {
      const [names, documents] = [await aged(this.#names), await aged(this.#documents)];
      await removeOldest(names, (left) => left.length > maxNames * (1 - SHARE_DROPPED));
      const room = maxBytes * (1 - SHARE_DROPPED) - bytes;
      await removeOldest(documents, (left) => left.reduce((sum, { size }) => sum + size, 0) > room);
      used = await (this.#used = this.#measure());
    }
    used.names++;
    used.bytes += bytes;
  }

  async #measure(): Promise<Usage> {
    const [names, documents] = [await aged(this.#names), await aged(this.#documents)];
    return { names: names.length, bytes: documents.reduce((sum, { size }) => sum + size, 0) };
  }

  #name(repository: string, selector: string): string {
    return join(this.#names, createHash('sha256').update(`${repository}\n${selector}`).digest('hex'));
  }
}

interface Usage {
  names: number;
  bytes: number;
}

interface AgedFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

function isChildOf({ mediaType, bytes }: KeptManifest, digest: Digest): boolean {
  if (!isIndexType(mediaType)) return false;
  try {
    const index = parseManifest(bytes, mediaType);
    return index.kind === 'index' && index.manifests.some((child) => child.digest === digest);
  } catch {
    return false;
  }
}

async function readSmall(path: string, maxBytes: number): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > maxBytes) throw new Error(`${path} is too large`);
  return readFile(path);
}

/** Undefined for what is no such record. Exported for the tests of hostile files. */
export function parseRecord(
  bytes: Uint8Array,
): { readonly mediaType: string; readonly digest: Digest } | undefined {
  try {
    const { mediaType, digest } = Object(JSON.parse(Buffer.from(bytes).toString())) as Record<
      string,
      unknown
    >;
    return typeof mediaType === 'string' && typeof digest === 'string' && isDigest(digest)
      ? { mediaType, digest }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The oldest first. */
async function aged(directory: string): Promise<AgedFile[]> {
  const names = await readdir(directory).catch(() => []);
  const files = names.map(async (name) => {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    return found === undefined ? [] : [{ path, size: found.size, mtimeMs: found.mtimeMs }];
  });
  return (await Promise.all(files)).flat().toSorted((one, other) => one.mtimeMs - other.mtimeMs);
}

async function removeOldest(
  files: AgedFile[],
  isTooMuch: (left: readonly AgedFile[]) => boolean,
): Promise<void> {
  while (files.length > 0 && isTooMuch(files)) {
    const oldest = files.shift();
    if (oldest !== undefined) await rm(oldest.path, { force: true });
  }
}
