import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../../image/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../image/manifest.ts';
import { writePrivateFile } from '../torrents/private-file.ts';

/** A manifest or index as the upstream gave it. */
export interface KeptManifest {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** Some kilobytes each: what a busy site pulls in months. */
const MAX_KEPT = 10_000;
/** Room made at once, so that not every new one makes us look through the directory. */
const DROPPED = 1000;
const MAX_HEADER_BYTES = 1024;

/**
 * Manifests that this service has served, by repository and tag or digest, for the time when the upstream does not
 * answer: `manifests/HASH`, a line of JSON {mediaType, digest}, then the document. What is not whole counts as absent.
 */
export class ManifestCache {
  readonly #directory: string;
  #count: Promise<number> | undefined;

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, 'manifests');
  }

  /** @throws an error of the file system */
  async keep(repository: string, selector: string, { mediaType, bytes }: KeptManifest): Promise<void> {
    const digest = digestOf(bytes);
    const known = await this.find(repository, selector);
    if (known !== undefined && digestOf(known.bytes) === digest && known.mediaType === mediaType) return;
    await this.#makeRoom();
    const header = Buffer.from(`${JSON.stringify({ mediaType, digest })}\n`);
    await writePrivateFile(this.#path(repository, selector), Buffer.concat([header, bytes]));
  }

  async find(repository: string, selector: string): Promise<KeptManifest | undefined> {
    try {
      const path = this.#path(repository, selector);
      if ((await stat(path)).size > MAX_MANIFEST_BYTES + MAX_HEADER_BYTES) return undefined;
      return parseKeptManifest(await readFile(path));
    } catch {
      return undefined;
    }
  }

  /** The ones that were written longest ago go; what is pulled often is written again. */
  async #makeRoom(): Promise<void> {
    this.#count ??= this.#files().then(({ length }) => length);
    const count = await this.#count;
    this.#count = Promise.resolve(count + 1);
    if (count < MAX_KEPT) return;
    const aged = await Promise.all(
      (await this.#files()).map(async (path) => ({ path, mtimeMs: (await stat(path)).mtimeMs })),
    );
    const oldest = aged.toSorted((a, b) => a.mtimeMs - b.mtimeMs).slice(0, DROPPED);
    for (const { path } of oldest) await rm(path, { force: true });
    this.#count = Promise.resolve(aged.length - oldest.length + 1);
  }

  async #files(): Promise<string[]> {
    const names = await readdir(this.#directory).catch(() => []);
    return names.map((name) => join(this.#directory, name));
  }

  #path(repository: string, selector: string): string {
    return join(this.#directory, createHash('sha256').update(`${repository}\n${selector}`).digest('hex'));
  }
}

/** Undefined for what is no such file, or is not whole. Exported for the tests of hostile files. */
export function parseKeptManifest(file: Buffer): KeptManifest | undefined {
  const end = file.subarray(0, MAX_HEADER_BYTES).indexOf('\n');
  const bytes = file.subarray(end + 1);
  try {
    const { mediaType, digest } = Object(JSON.parse(file.toString('utf8', 0, end))) as Record<
      string,
      unknown
    >;
    return typeof mediaType === 'string' && digest === digestOf(bytes) ? { mediaType, bytes } : undefined;
  } catch {
    return undefined;
  }
}
