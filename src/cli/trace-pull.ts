import { randomBytes } from 'node:crypto';
import type { Http } from '../http/http.ts';
import type { PullEvent } from '../pull/events.ts';
import { redact } from '../base/redact.ts';
import { exportSpans, otlpPlace, type OtlpPlace, type Span } from './otlp.ts';

/** Spans of one pull: an image has at most a few hundred layers. */
const MAX_SPANS = 2000;
/** W3C Trace Context, section 3.2. */
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}/;

/**
 * One pull as a trace: a span for each of its steps (resolve, plan, fetch with a span for each blob, deliver), made of what the
 * pull tells. A `TRACEPARENT` in the environment (W3C Trace Context) is the parent of the whole.
 */
export class PullTrace {
  readonly #spans: Span[] = [];
  readonly #traceId: string;
  readonly #parent: string | undefined;
  readonly #root = spanId();
  readonly #started = Date.now();
  readonly #image: string;
  #step: { readonly name: string; readonly id: string; readonly start: number } | undefined;
  #fetch: { readonly id: string; readonly start: number } | undefined;
  #fetchedAt = 0;

  readonly #place: OtlpPlace;
  readonly #version: string;
  #overAt: number | undefined;

  constructor(
    image: string,
    { place, version, traceparent }: { place: OtlpPlace; version: string; traceparent: string | undefined },
  ) {
    const [, trace, parent] = TRACEPARENT.exec(traceparent ?? '') ?? [];
    this.#traceId = trace ?? randomBytes(16).toString('hex');
    this.#parent = parent;
    this.#image = image;
    this.#place = place;
    this.#version = version;
  }

  readonly listener = (event: PullEvent): void => {
    const now = Date.now();
    switch (event.kind) {
      case 'resolving':
        return this.#begin('resolve', now);
      case 'resolved':
        return this.#begin('plan', now);
      case 'planned':
        this.#endStep(now);
        this.#fetch = { id: spanId(), start: now };
        this.#fetchedAt = now;
        return undefined;
      case 'completed': {
        const { digest, outcome } = event;
        const { fromPeers, fromRegistry, fromStore, seconds } = outcome;
        this.#fetchedAt = now;
        return this.#add({
          ...{
            name: 'fetch blob',
            id: spanId(),
            parent: this.#fetch?.id,
            start: now - seconds * 1000,
            end: now,
          },
          attributes: {
            'oci.digest': digest,
            'quayctl.bytes.peers': fromPeers,
            'quayctl.bytes.registry': fromRegistry,
            'quayctl.bytes.store': fromStore,
          },
        });
      }
      case 'loading':
        return this.#begin('deliver', now);
      default:
        return undefined;
    }
  };

  /** The pull is over when there is a receipt; what is given to others after it is none of it. */
  until<T, R>(onReceipt: (receipt: T) => R): (receipt: T) => R {
    return (receipt) => {
      this.#overAt = Date.now();
      return onReceipt(receipt);
    };
  }

  /** Sends the trace once the pull has ended, well or not. A collector that does not take it is told of, no more. */
  async around(pulled: Promise<unknown>, http: Pick<Http, 'request'>): Promise<void> {
    let error: unknown;
    try {
      await pulled;
    } catch (reason) {
      error = reason;
      throw reason;
    } finally {
      await exportSpans(http, this.#place, {
        traceId: this.#traceId,
        version: this.#version,
        spans: this.#all(error),
      });
    }
  }

  #all(error: unknown): readonly Span[] {
    const now = this.#overAt ?? Date.now();
    this.#endStep(now);
    const fetch = this.#fetch;
    if (fetch !== undefined) {
      const end = error === undefined ? this.#fetchedAt : now;
      this.#add({ name: 'fetch', id: fetch.id, parent: this.#root, start: fetch.start, end, attributes: {} });
    }
    const message = error instanceof Error ? error.message : String(error);
    const root: Span = {
      ...{ name: 'pull', id: this.#root, parent: this.#parent, start: this.#started, end: now },
      error: error === undefined ? undefined : redact(message),
      attributes: { 'oci.image': this.#image },
    };
    return [root, ...this.#spans];
  }

  #begin(name: string, start: number): void {
    this.#endStep(start);
    this.#step = { name, id: spanId(), start };
  }

  #endStep(end: number): void {
    const step = this.#step;
    this.#step = undefined;
    if (step !== undefined) this.#add({ ...step, parent: this.#root, end, attributes: {} });
  }

  #add(span: Span): void {
    if (this.#spans.length < MAX_SPANS) this.#spans.push(span);
  }
}

function spanId(): string {
  return randomBytes(8).toString('hex');
}

/** Undefined where the variables of OpenTelemetry name no place that is understood. */
export function openPullTrace(
  image: string,
  { env, version }: { readonly env: Readonly<Record<string, string | undefined>>; readonly version: string },
): PullTrace | undefined {
  const place = otlpPlace(env);
  return place && new PullTrace(image, { place, version, traceparent: env['TRACEPARENT'] });
}
