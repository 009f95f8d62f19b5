import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import type { BlobName } from '../../http-server/path.ts';
import type { ServeListener } from '../events.ts';
import { Jobs, type Job } from '../jobs.ts';
import { upstreamSource, type UpstreamReaders } from '../upstream/upstream-source.ts';
import type { HashStore, PieceHashes } from './hash-store.ts';

const LIMITS = {
  /** Reading and hashing overlap in more than two only where the upstream is slower than a core. */
  atOnce: 4,
  /** More than the layers of a whole registry's images pulled at once. */
  max: 1000,
  what: 'blobs wait to be hashed',
  /** What one core hashes, or a link of 1.6 Gbit/s carries. */
  presumedRate: 200_000_000,
  /** Only what is wrong with the content itself: an upstream that was away may be back at once. */
  lasting: ['verification'],
  failureMs: 30_000,
} as const;

export interface HashingOptions extends UpstreamReaders {
  readonly store: Pick<HashStore, 'load' | 'save'>;
  readonly listener: ServeListener;
}

/** Piece hashes of blobs: from disk, or by reading the blob once, whoever asks and however many do. */
export class Hashing {
  readonly #options: HashingOptions;
  readonly #jobs = new Jobs<PieceHashes>(LIMITS);

  constructor(options: HashingOptions) {
    this.#options = options;
  }

  /**
   * The hashes, or the job that makes them.
   * @param size of the blob, bytes, > 0
   * @param authorization of the caller who may read the blob
   * @throws QuayctlError `limit` where too many wait; `verification` where the blob was lately found wrong
   */
  hashes(
    blob: BlobName,
    size: number,
    authorization: string | undefined,
  ): Promise<PieceHashes | Job<PieceHashes>> {
    const load = (): Promise<PieceHashes | undefined> => this.#options.store.load(blob.digest);
    return this.#jobs.get(blob.digest, load, size, (job, signal) =>
      this.#make(blob, job, authorization, signal),
    );
  }

  /** Blobs that are being hashed, or wait for it. */
  get running(): number {
    return this.#jobs.keys.size;
  }

  /** Stops all work; what is on disk stays. */
  close(): void {
    this.#jobs.close();
  }

  async #make(
    blob: BlobName,
    job: Job<PieceHashes>,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const { store, listener } = this.#options;
    const { digest } = blob;
    const { size } = job;
    listener({ kind: 'hashing', digest, size });
    const startedAt = performance.now();
    try {
      const hashes = await this.#read(blob, job, authorization, signal);
      listener({ kind: 'hashed', digest, size, seconds: (performance.now() - startedAt) / 1000 });
      await store.save(hashes).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : 'piece hashes were not kept';
        listener({ kind: 'warning', message });
      });
      return hashes;
    } catch (error) {
      throw this.#failed(digest, error);
    }
  }

  /** @throws QuayctlError `verification` where the content has another size or digest; what reading it throws */
  async #read(
    { repository, digest }: BlobName,
    job: Job<PieceHashes>,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const source = upstreamSource(this.#options, repository, authorization, () => job.rideOnCaller());
    const hasher = new PieceHasher(pieceGeometry(job.size));
    const blob = { mediaType: '', digest, size: job.size };
    for await (const chunk of source.open(blob, 0, job.size, signal)) {
      hasher.update(chunk);
      job.advance(chunk.length);
    }
    const found = hasher.finish();
    if (found.digest !== digest) {
      throw new QuayctlError('verification', `upstream: the content of blob ${digest} has another digest`);
    }
    return { digest, length: found.length, pieces: found.pieces, made: Math.floor(Date.now() / 1000) };
  }

  #failed(digest: Digest, cause: unknown): QuayctlError {
    const what = `blob ${digest} could not be read to its end`;
    const error = isQuayctlError(cause) ? cause : new QuayctlError('unreachable', what, { cause });
    // What the end of the service breaks off is no failure.
    if (!this.#jobs.isClosing)
      this.#options.listener({ kind: 'hashing-failed', digest, reason: error.message });
    return error;
  }
}
