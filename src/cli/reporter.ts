import { formatBytes, formatDuration } from '../base/units.ts';
import { redact } from '../base/redact.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { SeedTotals } from '../blobs/seeds.ts';
import type { BlobProgress } from '../blobs/blob-events.ts';
import type { Listener, PullEvent, PullProgress } from '../pull/events.ts';
import type { Receipt } from '../pull/receipt.ts';
import { jsonLine, parseLogFormat } from './log-format.ts';
import { printableLine } from './printable.ts';
import { openBars, sumLine } from './bars.ts';
import type { Terminal } from './session.ts';

/** Without bars a long download still tells how it goes, so often. */
const PLAIN_PROGRESS_MS = 10_000;
/** A node that seeds says so often what it has given. */
const SEED_PROGRESS_MS = 60_000;
/** Warnings that are remembered, so that none is told twice. */
const MAX_WARNED = 1000;

export interface TalkFlags {
  readonly quiet?: boolean;
  /** False for `--no-progress`. */
  readonly progress?: boolean;
  readonly debug?: boolean;
  readonly json?: boolean;
  /** `json`: lines are JSON objects. */
  readonly logFormat?: string;
}

/** What was warned of on a terminal: several images of one run meet the same obstacle. */
const WARNED = new WeakMap<Terminal['stderr'], Set<string>>();

/** What a run says on stderr. */
export interface Talk {
  readonly listener: Listener;
  readonly line: (text: string) => void;
  readonly receipt: (receipt: Receipt) => void;
  /** Takes the bars away. Idempotent. */
  readonly end: () => void;
}

/** @param engine as prose names it; absent where images go into the store alone */
export async function openTalk(
  flags: TalkFlags,
  engine: string | undefined,
  terminal: Terminal,
): Promise<Talk> {
  const quiet = flags.quiet ?? false;
  const isJson = flags.logFormat !== undefined && parseLogFormat(flags.logFormat) === 'json';
  const wanted = !quiet && !isJson && flags.progress !== false && terminal.interactive;
  const bars = wanted ? await openBars(terminal.stderr) : undefined;
  const line = (text: string, event: { readonly kind: string } = { kind: 'said' }): void => {
    if (quiet) return;
    if (isJson) return terminal.err(`${jsonLine(event, text)}\n`);
    // A warning that quotes somebody must not look like several.
    if (bars === undefined) terminal.err(`${printableLine(text)}\n`);
    else bars.log(printableLine(text));
  };
  const plain = new PlainProgress(line);
  const minutes = new Minutes();
  const warned = WARNED.get(terminal.stderr) ?? new Set<string>();
  WARNED.set(terminal.stderr, warned);
  let loaded = 0;
  const listener = (event: PullEvent): void => {
    if (event.kind === 'warning' && warned.size < MAX_WARNED) {
      const about = event.about ?? event.message;
      if (warned.has(about)) return;
      warned.add(about);
    }
    if (event.kind === 'layer-loaded') loaded++;
    if (event.kind === 'seed-progress' && !minutes.isOver()) return;
    if (event.kind === 'progress') (bars ?? plain).update(event.progress);
    else if (event.kind === 'pull-progress') (bars ?? plain).sum({ ...event.progress, loaded });
    else if (event.kind === 'completed') bars?.complete(event.digest);
    if (event.kind === 'debug' && flags.debug !== true) return;
    const text = wording(event, engine ?? 'the engine');
    if (text !== undefined) line(text, event);
  };
  return {
    listener,
    line,
    receipt: (receipt) => line(receiptProse(receipt), { kind: 'receipt' }),
    end: () => bars?.end(),
  };
}

/** One line for each event, after the original's wording. */
function wording(event: PullEvent, engine: string): string | undefined {
  switch (event.kind) {
    case 'resolving':
      return 'Downloading manifest for image';
    case 'resolved':
      return event.offline ? 'Using the stored manifest for image' : 'Downloaded manifest for image';
    case 'discovering':
      return 'Discovering image';
    case 'asking-torrent':
      return 'Downloading torrent for image';
    case 'engine-says':
      return redact(event.line);
    case 'completed':
      return `${shortDigest(event.digest)} Completed`;
    case 'planned':
      return event.inEngine > 0
        ? `${event.inEngine} ${event.inEngine === 1 ? 'layer is' : 'layers are'} in ${engine} already`
        : undefined;
    case 'connecting':
      return `Connecting to ${event.engine}`;
    case 'loading':
      return 'Loading image';
    case 'squashed-starting':
      return 'Starting download of squashed image';
    case 'squashed-importing':
      return 'Importing squashed image';
    case 'making': {
      const percent = event.size === 0 ? 0 : Math.floor((event.done / event.size) * 100);
      return `The service makes the image: ${percent} %, ${formatDuration(Math.ceil(event.etaSeconds) * 1000)} to go`;
    }
    case 'exporting':
      return `Writing ${event.path}`;
    case 'seeding': {
      const until =
        event.durationMs === undefined ? 'until interrupted' : `for ${formatDuration(event.durationMs)}`;
      return `Seeding ${event.blobs} ${event.blobs === 1 ? 'blob' : 'blobs'} ${until}`;
    }
    case 'seed-progress': {
      const peers = `${event.peers} ${event.peers === 1 ? 'connection' : 'connections'}`;
      return `Seeding ${event.torrents} ${event.torrents === 1 ? 'blob' : 'blobs'}, ${peers} now; ${given(event)}`;
    }
    case 'seeded':
      return `Seeding is over: ${given(event)}`;
    case 'security':
      return redact(event.message);
    case 'warning':
      return `warning: ${redact(event.message)}`;
    case 'debug':
      return `debug: ${redact(event.message)}`;
    case 'layer-loaded':
    case 'fetched':
    case 'progress':
    case 'pull-progress':
      return undefined;
  }
}

/** `12.3 MB given to 4 nodes` */
function given({ uploaded, takers }: SeedTotals): string {
  return `${formatBytes(uploaded)} given to ${takers} ${takers === 1 ? 'node' : 'nodes'}`;
}

/** True once in a minute, for what is told while a node seeds. */
class Minutes {
  #last = performance.now();

  isOver(): boolean {
    const now = performance.now();
    if (now - this.#last < SEED_PROGRESS_MS) return false;
    this.#last = now;
    return true;
  }
}

/** The last line of a pull: where the bytes came from. */
function receiptProse({ total, vouchedBy }: Receipt): string {
  const sources = [
    `${formatBytes(total.fromPeers)} from peers`,
    `${formatBytes(total.fromRegistry)} from the registry`,
    ...(total.fromStore > 0 ? [`${formatBytes(total.fromStore)} from the store`] : []),
    ...(total.alreadyInEngine > 0 ? [`${formatBytes(total.alreadyInEngine)} already in the engine`] : []),
  ].join(', ');
  const extras = [
    ...(total.uploaded > 0 ? [`${formatBytes(total.uploaded)} given to peers`] : []),
    ...(total.wasted > 0 ? [`${formatBytes(total.wasted)} thrown away`] : []),
    vouchedBy === 'service'
      ? 'verified against what the torrent service says of it'
      : 'every digest verified',
  ].join(', ');
  return `${formatBytes(total.size)} in ${total.seconds.toFixed(1)} s: ${sources}; ${extras}`;
}

/** For logs: at most one line for a blob in ten seconds, and one for the whole pull. */
class PlainProgress {
  readonly #line: (text: string) => void;
  readonly #told = new Map<Digest | 'sum', number>();

  constructor(line: (text: string) => void) {
    this.#line = line;
  }

  update({ digest, size, received, peers, fromRegistry, downloadRate }: BlobProgress): void {
    if (!this.#isTime(digest) || received >= size) return;
    const percent = Math.floor((received / size) * 100);
    this.#line(
      `${shortDigest(digest)} ${percent} % of ${formatBytes(size)}, ${formatBytes(downloadRate)}/s, ` +
        `${peers} peers, ${formatBytes(fromRegistry)} from the registry`,
    );
  }

  sum(progress: PullProgress): void {
    if (this.#isTime('sum') && progress.received < progress.size) this.#line(sumLine(progress));
  }

  #isTime(key: Digest | 'sum'): boolean {
    const now = performance.now();
    const told = this.#told.get(key);
    if (told !== undefined && now - told < PLAIN_PROGRESS_MS) return false;
    this.#told.set(key, now);
    // The first is only the beginning of the ten seconds.
    return told !== undefined;
  }
}
