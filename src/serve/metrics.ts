import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ReportRouteOptions } from './routes/report-route.ts';
import type { ServeEvent, ServeListener } from './events.ts';
import { refuse, send, type RequestContext, type Route } from '../http-server/request-context.ts';

const PREFIX = 'quayctl_';
/** Torrents come within milliseconds, unless they are waited for; layers take minutes. Seconds. */
const REQUEST_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600];
/** Where the bytes that went out came from. */
const SOURCES: Readonly<Record<string, string>> = {
  v2: 'registry',
  ws: 'web_seed',
  c1: 'torrent',
  announce: 'tracker',
};

/** What is looked up when Prometheus asks. */
export interface MetricSources {
  /** Labels of `quayctl_build_info`. */
  readonly build: Readonly<Record<string, string>>;
  /** Undefined with an external tracker. */
  readonly tracker: () => { readonly swarms: number; readonly peers: number } | undefined;
  /** Passes that run or wait. */
  readonly hashing: () => number;
  /** Of the cache of blobs, bytes. */
  readonly cache: () => { readonly bytes: number; readonly limit: number; readonly blobs: number };
}

/** Counts events for Prometheus. No label holds a name, an address or a path: their number is bounded. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter('requests_total', 'Requests answered', 'route', 'method', 'status');
  readonly #sent = this.#counter('sent_bytes_total', 'Bytes of answers, by where they came from', 'source');
  readonly #seconds = new Histogram({
    name: `${PREFIX}request_seconds`,
    help: 'Time from a request to the end of its answer',
    labelNames: ['route'],
    buckets: REQUEST_BUCKETS,
    registers: [this.#registry],
  });
  readonly #hashed = this.#counter('hashed_blobs_total', 'Blobs whose piece hashes were made');
  readonly #hashedBytes = this.#counter(
    'hashed_bytes_total',
    'Bytes read from the upstream for piece hashes',
  );
  readonly #hashingSeconds = this.#counter('hashing_seconds_total', 'Time that these readings took');
  readonly #hashingFailures = this.#counter(
    'hashing_failures_total',
    'Readings for piece hashes that failed',
  );
  readonly #derived = this.#counter('derived_images_total', 'Squashed images and ACIs that were made');
  readonly #derivedSeconds = this.#counter('deriving_seconds_total', 'Time that making them took');
  readonly #derivingFailures = this.#counter('deriving_failures_total', 'Derived images that failed');
  readonly #reports = this.#counter('security_reports_total', 'Security reports asked of Clair', 'outcome');
  readonly #notifications = this.#counter(
    'security_notifications_total',
    'Changes of reports sent to the webhook',
    'outcome',
  );
  readonly #reported = this.#counter('reports_total', 'Reports of nodes', 'outcome');
  readonly #nodeBytes = this.#counter(
    'finished_layer_bytes_total',
    'Bytes of layers that nodes reported as done or failed, by where they came from',
    'source',
  );
  readonly #announces = this.#counter('announces_total', 'Announces to the embedded tracker', 'outcome');

  readonly #given = this.#counter(
    'given_blobs_total',
    'Blobs, or ranges of them, for whose bytes the upstream was not asked: from the cache, or from a reading under way',
    'from',
  );

  constructor({ build, tracker, hashing, cache }: MetricSources) {
    collectDefaultMetrics({ register: this.#registry });
    const info = { name: `${PREFIX}build_info`, help: 'Which build this is; always 1' };
    new Gauge({ ...info, labelNames: Object.keys(build), registers: [this.#registry] }).set(build, 1);
    this.#gauge('hashing_passes', 'Blobs that are hashed now, or wait for it', hashing);
    this.#gauge('swarms', 'Swarms with at least one peer', () => tracker()?.swarms ?? 0);
    this.#gauge('cache_bytes', 'Bytes of the cache, with what is being read into it', () => cache().bytes);
    this.#gauge('cache_limit_bytes', 'The bound of the cache; 0: there is none', () => cache().limit);
    this.#gauge('cache_blobs', 'Whole blobs in the cache', () => cache().blobs);
    this.#gauge('peers', 'Peers over all swarms', () => tracker()?.peers ?? 0);
  }

  readonly onReport: ReportRouteOptions['onReport'] = (outcome, report) => {
    this.#reported.inc({ outcome });
    if (report === undefined || report.state === 'pulling') return;
    this.#nodeBytes.inc({ source: 'peers' }, report.fromPeers);
    this.#nodeBytes.inc({ source: 'registry' }, report.fromRegistry);
  };

  readonly listener: ServeListener = (event) => this.#count(event);

  /** `/metrics`, in Prometheus' text format. */
  readonly route: Route = async (exchange: RequestContext): Promise<void> => {
    if (exchange.components.length > 1) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path');
    const headers = { 'content-type': this.#registry.contentType, 'cache-control': 'no-store' };
    send(exchange, 200, headers, await this.#registry.metrics());
  };

  #count(event: ServeEvent): void {
    switch (event.kind) {
      case 'request': {
        const { route, status, bytes, milliseconds } = event;
        const method = ['GET', 'HEAD'].includes(event.method) ? event.method : 'other';
        this.#requests.inc({ route, method, status: String(status) });
        this.#sent.inc({ source: SOURCES[route] ?? 'other' }, bytes);
        this.#seconds.observe({ route }, milliseconds / 1000);
        break;
      }
      case 'hashed':
        this.#hashed.inc();
        this.#hashedBytes.inc(event.size);
        this.#hashingSeconds.inc(event.seconds);
        break;
      case 'hashing-failed':
        this.#hashingFailures.inc();
        break;
      case 'derived':
        this.#derived.inc();
        this.#derivedSeconds.inc(event.seconds);
        break;
      case 'deriving-failed':
        this.#derivingFailures.inc();
        break;
      case 'reported':
      case 'report-failed':
        this.#reports.inc({ outcome: event.kind === 'reported' ? 'made' : 'failed' });
        break;
      case 'notified':
      case 'notify-failed':
        this.#notifications.inc({ outcome: event.kind === 'notified' ? 'taken' : 'failed' });
        break;
      case 'blob-given':
        this.#given.inc({ from: event.from });
        break;
      case 'announced':
        this.#announces.inc({ outcome: event.outcome });
        break;
      default:
    }
  }

  #counter(name: string, help: string, ...labelNames: string[]): Counter {
    return new Counter({ name: PREFIX + name, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({
      name: PREFIX + name,
      help,
      registers: [this.#registry],
      collect: () => gauge.set(read()),
    });
  }
}
