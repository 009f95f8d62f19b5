import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { Turns, type Claimants, type TurnLimits } from '../../base/turns.ts';
import type { BlobName } from '../../http-server/path.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import type { Clair, ClairLayer } from '../../registry/security/clair.ts';
import { reportJson } from '../../security/report-json.ts';
import type { SecurityReport } from '../../security/report.ts';
import type { ServeListener } from '../events.ts';
import type { Permission } from '../../upstream/permission.ts';

export interface ImageReportsOptions {
  readonly clair: Clair;
  /** What the service itself may read: for that it can sign URLs. */
  readonly own: Permission;
  readonly webSeed: (blob: BlobName) => string;
  readonly listener: ServeListener;
}

/** An image of which a report is wanted. */
export interface ReportedImage {
  readonly repository: string;
  /** The manifest's digest. */
  readonly digest: Digest;
  readonly layers: readonly Digest[];
}

export interface MadeReport {
  readonly report: SecurityReport;
  /** As it is sent. */
  readonly bytes: Buffer;
  /** When it was asked for, milliseconds since 1970. */
  readonly askedAt: number;
}

/** A report on its way. */
export interface ReportWork {
  readonly done: Promise<MadeReport>;
  /** How far Clair is, in its own word. */
  readonly step: () => string;
}

/**
 * Security reports that are made at once and that wait, in all and for one site or account. One of 32 MB takes about 200 MB
 * of memory while it is read; a fleet pulls one image, or a few, at the same moment.
 */
const LIMITS: TurnLimits = {
  what: 'security reports',
  atOnce: 2,
  atOnceEach: 1,
  most: 50,
  mostEach: 8,
  spare: 1,
  spareAfterMs: 60_000,
};
/** The service's own questions, for those who are told of changes. */
const OWN: Claimants = ['the service itself'];
/** A fleet that asks at the same moment is answered by one question to Clair. */
const FRESH_MS = 60_000;
/** What Clair cannot index now it can hardly index in the next seconds. */
const FAILURE_REMEMBERED_MS = 30_000;
/** The longest time that making a report may take. */
const LONGEST_WORK_MS = 15 * 60_000;
/** The size of the reports that are kept for a minute, bytes. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;
const MAX_FAILURES = 1000;

/** Reports by the operator's Clair: made once for all who wait, and for the next minute. */
export class ImageReports {
  readonly #options: ImageReportsOptions;
  readonly #running = new Map<string, ReportWork>();
  readonly #kept = new Map<string, { readonly made: MadeReport; readonly until: number }>();
  readonly #failures = new Map<string, { readonly error: QuayctlError; readonly until: number }>();
  readonly #turns = new Turns(LIMITS);
  readonly #closing = new AbortController();

  constructor(options: ImageReportsOptions) {
    this.#options = options;
  }

  /**
   * The report of an image, or the work that makes it, which outlives the request that began it.
   * @param claimants for whom, where it is begun
   * @throws QuayctlError `limit` where too many wait, or too many of theirs; what it failed with a moment ago
   */
  report(image: ReportedImage, claimants: Claimants): MadeReport | ReportWork {
    const key = `${image.repository}@${image.digest}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.until > Date.now()) return kept.made;
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    return this.#running.get(key) ?? this.#begin(key, image, claimants);
  }

  /** The report as Clair gives it now. @throws QuayctlError */
  fresh(image: ReportedImage): Promise<MadeReport> {
    const key = `${image.repository}@${image.digest}`;
    return (this.#running.get(key) ?? this.#begin(key, image, OWN)).done;
  }

  close(): void {
    this.#closing.abort(new QuayctlError('interrupted', 'the service is stopping'));
  }

  #begin(key: string, image: ReportedImage, claimants: Claimants): ReportWork {
    const place = this.#turns.enter(claimants);
    let step = 'waiting';
    const done = this.#make(key, image, place.turn, (at) => (step = at)).finally(() => {
      place.release();
      this.#running.delete(key);
    });
    // Whoever waited may have left.
    done.catch(() => undefined);
    const work = { done, step: () => step };
    this.#running.set(key, work);
    return work;
  }

  async #make(
    key: string,
    image: ReportedImage,
    turn: (signal: AbortSignal) => Promise<void>,
    onStep: (step: string) => void,
  ): Promise<MadeReport> {
    const { clair, listener } = this.#options;
    const { repository, digest } = image;
    const [started, askedAt] = [performance.now(), Date.now()];
    const deadline = AbortSignal.timeout(LONGEST_WORK_MS);
    const signal = AbortSignal.any([this.#closing.signal, deadline]);
    try {
      const layers = (until: AbortSignal) => this.#layers(image, until);
      await turn(signal);
      const report = await clair.report({ digest, layers, onStep }, signal);
      const made = { askedAt, report, bytes: Buffer.from(`${JSON.stringify(reportJson(report))}\n`) };
      this.#keep(key, made);
      const total = report.packages.reduce((sum, { vulnerabilities }) => sum + vulnerabilities.length, 0);
      const seconds = (performance.now() - started) / 1000;
      listener({ kind: 'reported', repository, digest, vulnerabilities: total, seconds });
      return made;
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      const failure = deadline.aborted
        ? new QuayctlError('unreachable', `Clair at ${clair.host} did not finish in time`)
        : error;
      if (isQuayctlError(failure)) {
        if (this.#failures.size >= MAX_FAILURES) this.#failures.clear();
        this.#failures.set(key, { error: failure, until: Date.now() + FAILURE_REMEMBERED_MS });
        listener({ kind: 'report-failed', repository, digest, reason: failure.message });
      }
      throw failure;
    }
  }

  /** Signed URLs, so that Clair needs no credential. @throws QuayctlError `no-report` */
  async #layers({ repository, layers }: ReportedImage, signal: AbortSignal): Promise<readonly ClairLayer[]> {
    const { own, webSeed } = this.#options;
    const places: ClairLayer[] = [];
    for (const digest of new Set(layers)) {
      const verdict = await own.mayRead({ repository, digest }, undefined, signal);
      if (verdict.kind === 'refused') {
        const message = `the service itself may not read layer ${shortDigest(digest)}, so it cannot show it to Clair (serve --upstream-auth)`;
        throw new QuayctlError('no-report', message);
      }
      places.push({ digest, url: webSeed({ repository, digest }), headers: {} });
    }
    return places;
  }

  #keep(key: string, made: MadeReport): void {
    const now = Date.now();
    for (const [each, { until }] of this.#kept) if (until <= now) this.#kept.delete(each);
    this.#kept.delete(key);
    let room = MAX_KEPT_BYTES - made.bytes.length;
    for (const { made: each } of this.#kept.values()) room -= each.bytes.length;
    for (const [each, { made: old }] of this.#kept) {
      if (room >= 0) break;
      this.#kept.delete(each);
      room += old.bytes.length;
    }
    if (room >= 0) this.#kept.set(key, { made, until: now + FRESH_MS });
  }
}
