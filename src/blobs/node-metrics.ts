import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { refuse, send, type Route } from '../http-server/request-context.ts';
import type { BlobEvent } from './blob-events.ts';
import type { Downloads } from './downloads.ts';

const PREFIX = 'quayctl_node_';
/** Registries that are counted each by its name; a machine that pulls from more counts the others together. */
const MAX_REGISTRIES = 50;

/** What this node received and gave, for Prometheus. No label holds the name of an image. */
export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #names = new Set<string>();
  readonly #fromRegistry = this.#counter(
    'registry_bytes_total',
    'Bytes of layers that came from the registry, or its torrent service',
  );
  readonly #fromPeers = this.#counter('peer_bytes_total', 'Bytes of layers that came from other nodes');

  constructor(downloads: Downloads) {
    collectDefaultMetrics({ register: this.#registry });
    const given: Counter = new Counter({
      name: `${PREFIX}given_bytes_total`,
      help: 'Bytes given to other nodes',
      registers: [this.#registry],
      collect: () => {
        given.reset();
        given.inc(downloads.seeds.totals().uploaded);
      },
    });
    this.#gauge('seeds', 'Layers that are given to others', () => downloads.seeds.totals().torrents);
    this.#gauge(
      'peers',
      'Connected nodes, each counted for each layer',
      () => downloads.seeds.totals().peers,
    );
    this.#gauge('downloads', 'Layers that arrive, or wait for it', () => downloads.list().length);
  }

  readonly listener = (event: BlobEvent): void => {
    if (event.kind !== 'fetched') return;
    const registry = this.#label(event.name?.registry ?? 'unknown');
    this.#fromRegistry.inc({ registry }, event.fromRegistry);
    this.#fromPeers.inc({ registry }, event.fromPeers);
  };

  /** `/metrics`, in Prometheus' text format. */
  readonly route: Route = async (exchange): Promise<void> => {
    if (exchange.components.length > 1) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path');
    const headers = { 'content-type': this.#registry.contentType, 'cache-control': 'no-store' };
    send(exchange, 200, headers, await this.#registry.metrics());
  };

  #label(name: string): string {
    if (this.#names.size < MAX_REGISTRIES) this.#names.add(name);
    return this.#names.has(name) ? name : 'others';
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name: PREFIX + name, help, labelNames: ['registry'], registers: [this.#registry] });
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
