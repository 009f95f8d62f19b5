import { createHash } from 'node:crypto';
import { open, readdir, rm, stat, utimes } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { Readable } from 'node:stream';
import { QuayctlError } from '../base/errors.ts';
import { digestFromHex, digestHex, digestOf, shortDigest, type Digest } from '../image/digest.ts';
import type { BlobReader } from './blob-store.ts';
import { isAbsent, onDisk, readBounded, replacePrivateFile } from './disk.ts';
import type { StorePaths } from './paths.ts';
import { readExactly } from './read.ts';

const HEX = /^[0-9a-f]{64}$/;
/** A use is noted at most so often. */
const USE_RESOLUTION_MS = 60_000;
const STREAM_CHUNK_BYTES = 256 * 1024;

export interface StoredBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly lastUsed: Date;
  /** Numeric ID of the user who wrote it. */
  readonly uid: number;
  /** It has another name, in an engine's store or a layout: to remove it would free nothing. */
  readonly isLinked: boolean;
  /** Another one after every change of the file; only the kernel sets it. */
  readonly version: string;
}

/**
 * `blobs/sha256/`: what is there was verified when it was committed, and is not hashed again when it is read. When a
 * blob was last used is its mtime (atime is at the mercy of mount options, and of whoever reads it for a backup).
 *
 * In a store that a group shares, a blob of another user than this one and root is hashed before its first use and after
 * each change: whoever wrote it may have put in what he liked.
 */
export class BlobFiles {
  readonly #paths: StorePaths;
  /** This process's user; -1 on systems that have no such numbers. */
  readonly #uid: number;
  /** Blobs of other users, in the version that was hashed. */
  readonly #hashed = new Map<Digest, string>();

  /** @param uid of whom blobs are believed, besides root */
  constructor(paths: StorePaths, uid: number = userInfo().uid) {
    this.#paths = paths;
    this.#uid = uid;
  }

  /** Size and last use; undefined where there is none. @throws QuayctlError `store` */
  async find(digest: Digest): Promise<StoredBlob | undefined> {
    return onDisk(`cannot read ${shortDigest(digest)}`, async () => {
      try {
        const entry = await stat(this.#paths.blob(digest), { bigint: true });
        if (!entry.isFile()) return undefined;
        const version = `${entry.ino} ${entry.size} ${entry.ctimeNs}`;
        const { mtime: lastUsed } = entry;
        const isLinked = entry.nlink > 1n;
        return { digest, size: Number(entry.size), lastUsed, uid: Number(entry.uid), isLinked, version };
      } catch (error) {
        if (isAbsent(error)) return undefined;
        throw error;
      }
    });
  }

  /** Whether its content can be relied on. A blob of another user is read and hashed where that has not been done yet. */
  async isBelieved(blob: StoredBlob): Promise<boolean> {
    if (!this.#isForeign(blob) || this.#hashed.get(blob.digest) === blob.version) return true;
    if (!(await this.verify(blob.digest))) return false;
    this.#hashed.set(blob.digest, blob.version);
    return true;
  }

  /** Notes a use. A store that cannot be written to is used without a note, and so is what another user wrote. */
  async use(blob: StoredBlob): Promise<void> {
    // A note changes the file's version, after which it would have to be hashed again.
    if (this.#isForeign(blob)) return;
    const now = new Date();
    if (now.getTime() - blob.lastUsed.getTime() < USE_RESOLUTION_MS) return;
    await utimes(this.#paths.blob(blob.digest), now, now).catch(() => undefined);
  }

  /** @throws QuayctlError `not-found`, `store` */
  async open(digest: Digest): Promise<BlobReader> {
    const file = await this.#open(digest);
    const { size } = await file.stat();
    return {
      size,
      read: async (offset, length, into) => {
        if (offset < 0 || length < 0 || offset + length > size) {
          throw new QuayctlError('store', `${shortDigest(digest)}: no bytes ${offset} to ${offset + length}`);
        }
        return onDisk(`cannot read ${shortDigest(digest)}`, () => readExactly(file, offset, length, into));
      },
      close: () => file.close(),
    };
  }

  /** @throws QuayctlError `not-found`, `store` */
  async stream(digest: Digest): Promise<Readable> {
    const file = await this.#open(digest);
    return file.createReadStream({ highWaterMark: STREAM_CHUNK_BYTES });
  }

  /** A small document, verified; undefined where it is not there, too large or damaged. */
  async document(digest: Digest, maxBytes: number): Promise<Buffer | undefined> {
    const bytes = await onDisk(`cannot read ${shortDigest(digest)}`, () =>
      readBounded(this.#paths.blob(digest), maxBytes),
    );
    return bytes !== undefined && digestOf(bytes) === digest ? bytes : undefined;
  }

  /** @throws QuayctlError `verification` where the bytes are not of the digest */
  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== digest)
      throw new QuayctlError('verification', `${digest}: its content does not verify`);
    if ((await this.document(digest, bytes.length)) !== undefined) return;
    await onDisk(`cannot write ${shortDigest(digest)} into the store`, () =>
      replacePrivateFile(this.#paths.own('tmp'), this.#paths.blob(digest), bytes, { durable: true }),
    );
  }

  /** True when the content is what the digest says; all of it is read. */
  async verify(digest: Digest): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const chunk of await this.stream(digest)) hash.update(chunk as Buffer);
    return hash.digest('hex') === digestHex(digest);
  }

  async remove(digest: Digest): Promise<void> {
    await onDisk(`cannot remove ${shortDigest(digest)}`, () => rm(this.#paths.blob(digest), { force: true }));
  }

  async list(): Promise<StoredBlob[]> {
    const names = await onDisk('cannot read the store', () => readdir(this.#paths.blobs));
    const blobs: StoredBlob[] = [];
    for (const name of names) {
      const blob = HEX.test(name) ? await this.find(digestFromHex(name)) : undefined;
      if (blob !== undefined) blobs.push(blob);
    }
    return blobs;
  }

  #isForeign({ uid }: StoredBlob): boolean {
    return this.#uid >= 0 && uid !== this.#uid && uid !== 0;
  }

  async #open(digest: Digest): ReturnType<typeof open> {
    try {
      return await open(this.#paths.blob(digest), 'r');
    } catch (error) {
      if (isAbsent(error)) throw new QuayctlError('not-found', `${shortDigest(digest)} is not in the store`);
      return onDisk(`cannot read ${shortDigest(digest)}`, () => Promise.reject(error as Error));
    }
  }
}
