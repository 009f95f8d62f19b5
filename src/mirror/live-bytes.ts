import { createHash } from 'node:crypto';
import { delay } from '../base/retry.ts';
import { QuayctlError } from '../base/errors.ts';
import type { BlobDownload } from '../blobs/blob-download.ts';
import type { BlobSource } from '../blobs/blob-source.ts';
import { digestHex, shortDigest } from '../image/digest.ts';

/** What the registry is asked for directly; twice as much each time in a row where the download stands still. */
const FIRST_STEP_BYTES = 1024 * 1024;
const LARGEST_STEP_BYTES = 64 * 1024 * 1024;

export interface LiveBytesOptions {
  readonly download: BlobDownload;
  /** The registry itself. */
  readonly source: BlobSource;
  /** The longest silence towards the engine while any source has a byte, milliseconds (`--stall`). */
  readonly stallMs: number;
  /** Whether the process receives bytes for a blob that is before this one in the queue. */
  readonly isMoving: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Bytes `start` to `end` (exclusive) of a blob that is being downloaded. Where the download gives none for half of the
 * stall, the registry is asked for the bytes at this place directly, so an engine never waits longer than it would for
 * the registry itself. Whoever reads all of the blob gets its last byte only after the SHA-256 was right.
 * @throws QuayctlError `unreachable` when no source has given a byte for the stall, `verification`; the signal's reason
 */
export async function* liveBytes(
  start: number,
  end: number,
  options: LiveBytesOptions,
): AsyncGenerator<Uint8Array> {
  const { digest, size } = options.download;
  const hash = start === 0 && end === size ? createHash('sha256') : undefined;
  for await (const chunk of eitherWay(start, end, options)) {
    hash?.update(chunk.bytes);
    if (hash !== undefined && chunk.isLast && hash.digest('hex') !== digestHex(digest)) {
      throw new QuayctlError('verification', `${shortDigest(digest)}: the registry sent other bytes`);
    }
    yield chunk.bytes;
  }
}

interface Chunk {
  readonly bytes: Uint8Array;
  /** It ends where the reader wants to end. */
  readonly isLast: boolean;
}

async function* eitherWay(start: number, end: number, options: LiveBytesOptions): AsyncGenerator<Chunk> {
  const { download, source, stallMs, isMoving, signal } = options;
  const halfMs = stallMs / 2;
  let at = start;
  let step = FIRST_STEP_BYTES;
  /** Silence of both, one after the other, ends the body. */
  let silences = 0;
  let received = -1;
  while (at < end) {
    const before = at;
    const follow = (abort: AbortSignal) => download.reader(before, end, abort, { isVerified: false });
    for await (const bytes of untilSilent(follow, halfMs, signal, isMoving)) {
      at += bytes.length;
      yield { bytes, isLast: at >= end };
    }
    if (at >= end) return;
    if (at > before) [silences, step] = [0, FIRST_STEP_BYTES];
    // Where it moves, only not at this place, a step now and then is enough: each crosses the gateway twice.
    const isStill = download.progress().received === received;
    received = download.progress().received;
    const from = at;
    const until = Math.min(end, at + step);
    const direct = (abort: AbortSignal) => source.open(download.blob, from, until, abort);
    for await (const bytes of untilSilent(direct, halfMs, signal)) {
      at += bytes.length;
      yield { bytes, isLast: at >= end };
    }
    if (at > from)
      [silences, step] = [0, isStill ? Math.min(step * 2, LARGEST_STEP_BYTES) : FIRST_STEP_BYTES];
    else if (++silences === 2) {
      throw new QuayctlError(
        'unreachable',
        `${shortDigest(download.digest)}: no source gives any more of it`,
      );
    }
  }
}

/**
 * What a source gives, until it is silent for `silenceMs`, fails or ends.
 * @param mayWait looked at when it has been silent for so long: true has it wait once more
 * @throws the signal's reason
 */
async function* untilSilent(
  open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
  silenceMs: number,
  signal: AbortSignal,
  mayWait: () => boolean = () => false,
): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const chunks = open(either)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = chunks.next();
      next.catch(() => undefined);
      let result = await orSilent(next, silenceMs);
      while (result === 'silent' && mayWait()) result = await orSilent(next, silenceMs);
      if (result === 'silent' || result.done === true) return;
      yield result.value;
    }
  } catch {
    // The other source is asked: what is wrong with this one is told by the download's own events.
    signal.throwIfAborted();
  } finally {
    stop.abort();
    await chunks.return?.().catch(() => undefined);
  }
}

async function orSilent<T>(work: Promise<T>, ms: number): Promise<T | 'silent'> {
  const over = new AbortController();
  const silence = delay(ms, over.signal).then(() => 'silent' as const);
  silence.catch(() => undefined);
  try {
    return await Promise.race([work, silence]);
  } finally {
    over.abort();
  }
}
