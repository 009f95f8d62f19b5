import { createHash, randomUUID } from 'node:crypto';
import { isQuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import { changesBetween, knownFlaws } from '../../security/changes.ts';
import type { Severity } from '../../security/severity.ts';
import type { ServeListener } from '../events.ts';
import type { ImageReports, MadeReport, ReportedImage } from './image-reports.ts';
import type { KeptImage, KeptImages } from './kept-images.ts';
import type { Webhook } from './webhook.ts';

export interface ReportWatchOptions {
  readonly reports: Pick<ImageReports, 'fresh'>;
  readonly kept: KeptImages;
  readonly webhook: Webhook;
  /** Changes of milder flaws are no news. */
  readonly atLeast: Severity;
  /** How often each image is looked at again, milliseconds. */
  readonly everyMs: number;
  readonly listener: ServeListener;
}

/** An image is asked for by every node that pulls it; that this was so is written down so often. */
const NOTE_EVERY_MS = 3_600_000;
const MAX_TAGS = 50;
/** Deliveries of one image that wait for the webhook. */
const MAX_PENDING = 50;
/** Changes that one delivery names; the rest is counted. */
const MAX_CHANGES = 1000;
const FIRST_RETRY_MS = 1000;
/** The longest pause before a delivery is sent again. */
const LONGEST_RETRY_MS = 3_600_000;

/**
 * Watches the reports of images that somebody has asked for, and tells the operator's webhook what changes. What is to
 * be told is written down together with the report that it comes from, so that each change is told once, over a
 * restart, too.
 */
export class ReportWatch {
  readonly #options: ReportWatchOptions;
  readonly #closing = new AbortController();
  /** One change of the files at a time. */
  #last: Promise<unknown> = Promise.resolve();
  #wake = Promise.withResolvers<void>();
  #running: readonly Promise<void>[] = [];

  constructor(options: ReportWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = [this.#lookAgain(), this.#deliver()].map((each) => each.catch(() => undefined));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake.resolve();
    await Promise.all(this.#running);
    await this.#last;
  }

  /**
   * A report that somebody was given: from now on the image is watched. Never throws: whoever asked for the report has
   * nothing to do with it.
   * @param tag under which it was asked for; undefined for a digest
   */
  async noteReport(image: ReportedImage, made: MadeReport, tag: string | undefined): Promise<void> {
    await this.#inTurn(async () => {
      const known = await this.#options.kept.find(image.repository, image.digest);
      const tags = [...new Set([...(known?.tags ?? []), ...(tag === undefined ? [] : [tag])])];
      const next = this.#withNews(known, image, made, tags.slice(-MAX_TAGS), Date.now());
      const isKnown =
        known !== undefined &&
        next.flaws === known.flaws &&
        next.tags.length === known.tags.length &&
        next.askedAt - known.askedAt < NOTE_EVERY_MS;
      if (!isKnown) await this.#save(next);
    });
  }

  async #lookAgain(): Promise<void> {
    const { signal } = this.#closing;
    const { everyMs, kept } = this.#options;
    for (;;) {
      await delay(everyMs, signal);
      for await (const image of kept.all()) {
        signal.throwIfAborted();
        const made = await this.#fresh(image);
        signal.throwIfAborted();
        if (made !== undefined) await this.#inTurn(() => this.#compare(image, made));
      }
    }
  }

  /** What goes wrong is logged by whoever makes the report; the next round tries again. */
  async #fresh(image: KeptImage): Promise<MadeReport | undefined> {
    try {
      return await this.#options.reports.fresh(image);
    } catch {
      return undefined;
    }
  }

  async #compare({ repository, digest }: KeptImage, made: MadeReport): Promise<void> {
    const known = await this.#options.kept.find(repository, digest);
    if (known === undefined) return;
    const next = this.#withNews(known, known, made, known.tags, known.askedAt);
    if (next.flaws !== known.flaws) await this.#save(next);
  }

  /** The first report of an image is no news; from then on, what is different is. */
  #withNews(
    known: KeptImage | undefined,
    { repository, digest, layers }: ReportedImage,
    { report, askedAt: reportAt }: MadeReport,
    tags: readonly string[],
    askedAt: number,
  ): KeptImage {
    const flaws = knownFlaws(report);
    const base = { repository, digest, layers, tags, askedAt, reportAt };
    if (known === undefined) return { ...base, flaws, pending: [] };
    // A report that was on its way while a newer one came would take its news back.
    if (reportAt < known.reportAt) return { ...known, tags, askedAt };
    if (changesBetween(known.flaws, flaws, 'Unknown').length === 0) {
      return { ...base, flaws: known.flaws, pending: known.pending };
    }
    const changes = changesBetween(known.flaws, flaws, this.#options.atLeast);
    if (changes.length === 0) return { ...base, flaws, pending: known.pending };
    const news = {
      id: createHash('sha256').update(`${randomUUID()}\n${digest}`).digest('hex').slice(0, 32),
      time: new Date().toISOString(),
      changes: changes.slice(0, MAX_CHANGES),
      total: changes.length,
    };
    return { ...base, flaws, pending: [...known.pending, news].slice(-MAX_PENDING) };
  }

  async #save(image: KeptImage): Promise<void> {
    await this.#options.kept.save(image);
    if (image.pending.length > 0) this.#wake.resolve();
  }

  /** In order, one at a time; what is not taken is tried again, ever more seldom, until it is. */
  async #deliver(): Promise<void> {
    const { signal } = this.#closing;
    let retryMs = FIRST_RETRY_MS;
    for (;;) {
      const failed = await this.#deliverAll();
      signal.throwIfAborted();
      if (failed) {
        await delay(retryMs * (0.5 + Math.random() / 2), signal);
        retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
        continue;
      }
      retryMs = FIRST_RETRY_MS;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }

  /** @returns whether something is left */
  async #deliverAll(): Promise<boolean> {
    const { kept, webhook, listener } = this.#options;
    const { signal } = this.#closing;
    for await (const image of kept.all()) {
      for (const news of image.pending) {
        try {
          await webhook.send(image, news, signal);
        } catch (error) {
          signal.throwIfAborted();
          const reason = isQuayctlError(error) ? error.message : `${webhook.host} does not answer in time`;
          listener({ kind: 'notify-failed', repository: image.repository, digest: image.digest, reason });
          return true;
        }
        const { repository, digest } = image;
        listener({ kind: 'notified', repository, digest, changes: news.total });
        await this.#inTurn(async () => {
          const known = await kept.find(repository, digest);
          if (known === undefined) return;
          await kept.save({ ...known, pending: known.pending.filter(({ id }) => id !== news.id) });
        });
      }
    }
    return false;
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const { listener } = this.#options;
    const turn = this.#last.then(work).catch((error: unknown) => {
      const message = `watched images: ${error instanceof Error ? error.message : String(error)}`;
      listener({ kind: 'warning', message });
    });
    this.#last = turn;
    await turn;
  }
}
