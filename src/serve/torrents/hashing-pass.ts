import { QuayctlError } from '../../base/errors.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import { readUpstreamBlob } from '../upstream/upstream-blob.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobName } from '../../http-server/path.ts';
import type { PieceHashes } from './hash-store.ts';

/** Until a pass has a rate of its own: what one core hashes, or a link of 1.6 Gbit/s carries. Bytes per second. */
const PRESUMED_RATE = 200_000_000;
/** Below this a measured rate says more about the first packets than about the pass. */
const MEASURABLE_SECONDS = 0.2;

/** One reading of one blob, for all who wait for its piece hashes. */
export class HashingPass {
  readonly blob: BlobName;
  readonly size: number;
  #hashed = 0;
  #startedAt: number | undefined;

  constructor(blob: BlobName, size: number) {
    this.blob = blob;
    this.size = size;
  }

  /** Bytes read so far. */
  get hashed(): number {
    return this.#hashed;
  }

  /** Seconds until it is done, once it has begun. */
  get etaSeconds(): number {
    const elapsed = this.#startedAt === undefined ? 0 : (performance.now() - this.#startedAt) / 1000;
    const rate = elapsed < MEASURABLE_SECONDS ? PRESUMED_RATE : Math.max(1, this.#hashed / elapsed);
    return (this.size - this.#hashed) / rate;
  }

  /**
   * Reads the blob to its end.
   * @param authorization the caller's; it goes into the requests, and is kept nowhere
   * @throws QuayctlError `verification` where the content has another size or digest; `unauthorized`, `not-found`,
   *   `unreachable`, `protocol` where the upstream does not give it
   */
  async run(
    upstream: Upstream,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    this.#startedAt = performance.now();
    const { digest } = this.blob;
    const request = { ...this.blob, size: this.size, start: 0, end: this.size, authorization };
    const hasher = new PieceHasher(pieceGeometry(this.size));
    for await (const chunk of readUpstreamBlob(upstream, request, signal)) {
      hasher.update(chunk);
      this.#hashed = hasher.length;
    }
    const found = hasher.finish();
    if (found.digest !== digest) {
      throw new QuayctlError('verification', `upstream: the content of blob ${digest} has another digest`);
    }
    return { digest, length: found.length, pieces: found.pieces, made: Math.floor(Date.now() / 1000) };
  }
}
