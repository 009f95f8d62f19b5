import type { Readable } from 'node:stream';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';

/** Bytes `start` (inclusive) to `end` (exclusive). */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Random access to the bytes of one blob, whole or partial. */
export interface BlobReader {
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`.
   * @param into where they are put in place of new memory; of at least that length
   * @throws QuayctlError `store` past the end or where nothing is written
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** A gc may choose the blob all the same. */
  readonly yields?: boolean;
}

/**
 * A blob on its way in. Only one process holds it at a time. Which spans are written survives a crash, so the
 * next run continues; what it claims is believed only once `commit` has checked it.
 */
export interface PartialBlob extends BlobReader {
  readonly descriptor: Descriptor;
  /** Written spans, sorted, disjoint, not touching. */
  readonly spans: readonly Span[];
  /** Sum of the spans, bytes. */
  readonly written: number;
  has(start: number, end: number): boolean;
  /** @throws QuayctlError `disk-full`, `store` */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Bytes `start` to `end` are written and match a hash of theirs: that of their piece in a torrent. */
  markVerified(start: number, end: number): void;
  /**
   * Waits until the byte at `offset` is verified: by `markVerified`, or by the commit, which verifies everything.
   * What is written over or discarded afterwards is no longer verified.
   * @returns the end (exclusive) of the run of verified bytes that begins at `offset`
   * @throws the signal's reason; QuayctlError `interrupted` when the partial blob is closed before
   */
  waitVerified(offset: number, signal: AbortSignal): Promise<number>;
  /** The same for bytes that are written, verified or not. What becomes of them afterwards, `changes` tells. */
  waitWritten(offset: number, signal: AbortSignal): Promise<number>;
  /**
   * Waits until a commit has found that size and digest are right. What it does after that keeps the blob, and nobody
   * who only reads has to wait for it.
   * @throws the signal's reason; QuayctlError `interrupted` when the partial blob is closed before
   */
  waitChecked(signal: AbortSignal): Promise<void>;
  /** Goes up whenever written bytes are discarded, or written over with other ones. */
  readonly changes: number;
  /** Forgets a span (its piece did not verify) or everything. */
  discard(span?: Span): Promise<void>;
  /**
   * The only door for blobs: size and SHA-256 checked, fsync, rename. `read` keeps working after it.
   * @throws QuayctlError `verification`, everything then still here for the caller to `discard` or repair
   */
  commit(): Promise<void>;
  /** Lets go of it; an uncommitted one stays for the next run. Idempotent. */
  close(): Promise<void>;
}

/**
 * Verified bytes on this disk: an OCI image layout (`blobs/sha256/…`), shared by all quayctl processes. A blob is
 * hashed once, at its commit. `stat`, `open` and `stream` believe the disk from then on; what a later damage changed
 * is found by `Store.verify`, by an export (which hashes what it writes), by peers and engines, and, where the size
 * changed, by `begin`.
 */
export interface BlobStore {
  /** Size in bytes of a committed blob, or undefined. Counts as a use for `gc`. */
  stat(digest: Digest): Promise<number | undefined>;
  /**
   * Random access to a committed blob, for seeding. No gc takes it while it is open, unless it `yields`: then its bytes
   * can still be read until it is closed, which has to be soon after the store tells of the change.
   * @throws QuayctlError `not-found`
   */
  open(digest: Digest, options?: OpenOptions): Promise<BlobReader>;
  /** A committed blob from its beginning, for engines and archives. @throws QuayctlError `not-found` */
  stream(digest: Digest): Promise<Readable>;
  /**
   * The right to write a blob. Waits while another process (or caller) downloads the same one, and goes on where a
   * former one ended, at once when that was killed. A committed blob of another size is hashed: damaged it is removed
   * and begun anew.
   * @returns 'present' when it is (or meanwhile became) committed
   * @throws QuayctlError `verification` when the descriptor's size is wrong, `store`, `disk-full`; the signal's reason
   */
  begin(descriptor: Descriptor, signal: AbortSignal): Promise<PartialBlob | 'present'>;
}
