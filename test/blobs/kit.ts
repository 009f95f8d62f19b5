import { createHash } from 'node:crypto';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { delay } from '../../src/base/retry.ts';
import { QuayctlError } from '../../src/base/errors.ts';
import type { BlobEvent } from '../../src/blobs/blob-events.ts';
import type { BlobOrigin, FetchRules } from '../../src/blobs/blob-origin.ts';
import type { BlobSource } from '../../src/blobs/blob-source.ts';
import { Downloads } from '../../src/blobs/downloads.ts';
import { TorrentFinder } from '../../src/blobs/torrent-finder.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import { buildInfo, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { PieceHasher } from '../../src/metainfo/piece-hasher.ts';
import type { TorrentAnswer } from '../../src/registry/repository.ts';
import { MemorySwarmClient } from '../helpers/memory-swarm.ts';
import { MemoryBlobStore } from '../store/memory-blob-store.ts';

export const MIB = 2 ** 20;
export const never = new AbortController().signal;
export const HASHING: TorrentAnswer = {
  kind: 'hashing',
  size: 1,
  hashed: 0,
  etaSeconds: 60,
  retryAfterSeconds: 1,
};
export const NO_TORRENT: TorrentAnswer = { kind: 'none', reason: 'it serves no torrents' };

/** The same bytes for the same seed. */
export function contentOf(size: number, seed = 'a'): Buffer {
  return createHash('shake256', { outputLength: size }).update(seed).digest();
}

export function descriptorOf(content: Uint8Array): Descriptor {
  return { mediaType: 'application/octet-stream', digest: digestOf(content), size: content.length };
}

/** @param digest that the torrent says it is of; that of the content by default */
export function torrentOf(content: Uint8Array, digest: Digest = digestOf(content)): TorrentAnswer {
  const hasher = new PieceHasher(pieceGeometry(content.length));
  hasher.update(content);
  const { pieces } = hasher.finish();
  const info = buildInfo({ name: digest.slice(7), length: content.length, pieces });
  return { kind: 'torrent', bytes: encodeTorrent(info, { announce: ['http://tracker.test/'], digest }) };
}

/** A registry in virtual time. */
export class MemoryRegistry implements BlobSource {
  content: Uint8Array;
  /** Milliseconds before the first byte, and for each chunk of 64 KiB. */
  firstByteMs = 0;
  chunkMs = 0;
  failure: QuayctlError | undefined;
  /** Answers of this registry that are damaged, one byte each, from now on. */
  damaged = 0;
  given = 0;

  constructor(content: Uint8Array) {
    this.content = content;
  }

  async *open(_: Descriptor, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    await delay(this.firstByteMs, signal);
    let damage = this.damaged > 0 ? this.damaged-- : 0;
    for (let at = start; at < end; at += 65536) {
      if (this.failure !== undefined) throw this.failure;
      await delay(this.chunkMs, signal);
      const chunk = Buffer.from(this.content.subarray(at, Math.min(end, at + 65536)));
      if (damage > 0) chunk[0] = (chunk[0] ?? 0) ^ 1;
      damage = 0;
      this.given += chunk.length;
      yield chunk;
    }
  }
}

/** A torrent service: answers one after the other, the last one again and again. */
export class MemoryTorrentService {
  answers: (TorrentAnswer | QuayctlError)[];
  /** The `?wait=` of every question. */
  readonly questions: number[] = [];
  /** Milliseconds that an answer takes. */
  answerMs = 0;

  constructor(...answers: (TorrentAnswer | QuayctlError)[]) {
    this.answers = answers;
  }

  async torrent(_: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    this.questions.push(waitSeconds);
    await delay(this.answerMs, signal);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    if (answer === undefined) throw new Error('the service was not to be asked');
    if (answer instanceof QuayctlError) throw answer;
    return answer;
  }
}

const RULES: FetchRules = { skipWebSeed: false, waitForPeersMs: 2000, trackers: [] };

/** Everything that a download needs, without disk and network. */
export class BlobStage {
  readonly store = Object.assign(new MemoryBlobStore(), {
    torrents: new Map<Digest, Uint8Array>(),
    async saveTorrent(digest: Digest, bytes: Uint8Array) {
      this.torrents.set(digest, bytes);
    },
    async loadTorrent(digest: Digest) {
      return this.torrents.get(digest);
    },
  });
  readonly swarm = new MemorySwarmClient();
  readonly events: BlobEvent[] = [];
  readonly downloads: Downloads;

  constructor(lingerMs = 0) {
    this.downloads = new Downloads({
      store: this.store,
      swarm: () => Promise.resolve(this.swarm),
      downloadLimiter: createRateLimiter(0),
      listener: (event) => this.events.push(event),
      lingerMs,
    });
  }

  origin(source: BlobSource, torrents: MemoryTorrentService, rules: Partial<FetchRules> = {}): BlobOrigin {
    const listener = (event: BlobEvent): void => void this.events.push(event);
    const finder = new TorrentFinder({ torrents, store: this.store, listener });
    return { source, torrents: finder, rules: { ...RULES, ...rules } };
  }

  warnings(): string[] {
    return this.events.flatMap((event) => (event.kind === 'warning' ? [event.message] : []));
  }
}
