import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDigest, type Digest } from '../../image/digest.ts';
import type { FlawChange, KnownFlaw } from '../../security/changes.ts';
import { writePrivateFile } from '../torrents/private-file.ts';

/** News of an image that the operator's webhook has not taken yet. */
export interface PendingNews {
  /** The same at each attempt. */
  readonly id: string;
  /** When it was found, ISO 8601. */
  readonly time: string;
  readonly changes: readonly FlawChange[];
  /** How many changes there were; only the first ones are kept. */
  readonly total: number;
}

/** An image whose report is watched. */
export interface KeptImage {
  readonly repository: string;
  readonly digest: Digest;
  readonly layers: readonly Digest[];
  /** Tags under which it was asked for. */
  readonly tags: readonly string[];
  /** Milliseconds since 1970. */
  readonly askedAt: number;
  /** When the last report was asked for, milliseconds since 1970: an older one is no news. */
  readonly reportAt: number;
  /** As of the last report. */
  readonly flaws: readonly KnownFlaw[];
  readonly pending: readonly PendingNews[];
}

const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** Images whose reports are watched. Each is asked for again every `--notify-every`. */
const MAX_IMAGES = 1000;
/** An image that was not asked for during this time is no longer watched. */
const KEPT_MS = 30 * 86_400_000;

/**
 * Watched images on disk, one file each, so that a restart neither loses news nor tells it again. Only their places and
 * ages are in memory: the flaws of a thousand images would take 100 MB.
 */
export class KeptImages {
  readonly #directory: string;
  /** By path of the file, when it was last asked for. */
  readonly #askedAt = new Map<string, number>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Files that are torn, or of another version, count as absent. */
  static async open(dataDirectory: string): Promise<KeptImages> {
    const kept = new KeptImages(join(dataDirectory, 'security'));
    const names = await readdir(kept.#directory).catch(() => []);
    for (const name of names.filter((each) => /^[0-9a-f]{64}\.json$/.test(each))) {
      const path = join(kept.#directory, name);
      const image = await readKept(path);
      if (image !== undefined) kept.#askedAt.set(path, image.askedAt);
    }
    return kept;
  }

  /** All of them, read one by one; those that nobody has asked for in a month are forgotten. */
  async *all(): AsyncGenerator<KeptImage> {
    for (const [path, askedAt] of [...this.#askedAt]) {
      const image = await readKept(path);
      if (image !== undefined && (askedAt > Date.now() - KEPT_MS || image.pending.length > 0)) yield image;
      else await this.#forget(path);
    }
  }

  find(repository: string, digest: Digest): Promise<KeptImage | undefined> {
    const path = this.#path(repository, digest);
    return this.#askedAt.has(path) ? readKept(path) : Promise.resolve(undefined);
  }

  /** Written at once and whole. @throws an error of the file system */
  async save(image: KeptImage): Promise<void> {
    const path = this.#path(image.repository, image.digest);
    await writePrivateFile(path, Buffer.from(JSON.stringify({ version: 1, ...image })));
    this.#askedAt.set(path, image.askedAt);
    if (this.#askedAt.size <= MAX_IMAGES) return;
    const [oldest] = [...this.#askedAt].toSorted(([, a], [, b]) => a - b)[0] ?? [];
    if (oldest !== undefined) await this.#forget(oldest);
  }

  async #forget(path: string): Promise<void> {
    this.#askedAt.delete(path);
    await rm(path, { force: true });
  }

  #path(repository: string, digest: Digest): string {
    const name = createHash('sha256').update(`${repository}\n${digest}`).digest('hex');
    return join(this.#directory, `${name}.json`);
  }
}

async function readKept(path: string): Promise<KeptImage | undefined> {
  try {
    if ((await stat(path)).size > MAX_FILE_BYTES) return undefined;
    return parseKeptImage(await readFile(path));
  } catch {
    return undefined;
  }
}

/** Our own file, in a directory that only we write; still, what is no such file counts as absent. */
export function parseKeptImage(bytes: Uint8Array): KeptImage | undefined {
  try {
    const json = Object(JSON.parse(Buffer.from(bytes).toString('utf8'))) as Partial<KeptImage> & {
      version?: unknown;
    };
    const { version, repository, digest, layers, tags, askedAt, reportAt, flaws, pending } = json;
    if (version !== 1 || typeof repository !== 'string' || typeof digest !== 'string') return undefined;
    if (!isDigest(digest) || typeof askedAt !== 'number') return undefined;
    if (![layers, tags, flaws, pending].every(Array.isArray)) return undefined;
    return {
      repository,
      digest,
      layers: layers ?? [],
      tags: tags ?? [],
      askedAt,
      reportAt: typeof reportAt === 'number' ? reportAt : 0,
      flaws: flaws ?? [],
      pending: pending ?? [],
    };
  } catch {
    return undefined;
  }
}
