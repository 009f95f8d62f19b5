import type { Delivered } from '../pieces/delivery.ts';
import type { PieceGeometry } from '../../metainfo/metainfo.ts';
import { SlowPeers, type Help } from './slow-peers.ts';
import type { RegistryPieces, SwarmView } from './swarm-view.ts';

/** How often the pace of peers is looked at, for each node that waits; no more seldom than so many times this. */
const LOOK_MS = 100;
const MOST_LOOKS = 5;
/** A node with a limit claims nothing while peers have what fills it for so long. Milliseconds. */
const FULL_MS = 500;

/** What the claims room knows of the connected nodes. */
export interface Company {
  /** Nodes that miss pieces, this one not counted, and those that miss none. */
  readonly seekers: number;
  readonly seeds: number;
  readonly isFetcher: boolean;
}

export interface SupplyWatchOptions {
  readonly geometry: PieceGeometry;
  /** No more than this may come in all now, bytes per second; 0: unlimited. */
  readonly most?: () => number;
}

/** Looks at what comes from where and what is to be had, and has SlowPeers judge of it. */
export class SupplyWatch {
  readonly #view: SwarmView;
  readonly #options: SupplyWatchOptions;
  readonly #company: Company;
  readonly #slowPeers = new SlowPeers();
  /** Peers have more than this node may take in a moment. */
  #isFull = false;
  /** Since the last look, bytes. */
  #fetchedByOthers = 0;
  #last: { readonly at: number; readonly fromPeers: number; readonly delivered: Delivered };

  constructor(view: SwarmView, options: SupplyWatchOptions, company: Company, now: number) {
    this.#view = view;
    this.#options = options;
    this.#company = company;
    this.#last = { at: now, fromPeers: 0, delivered: { bytes: 0, ms: 0 } };
  }

  /** For the FetchView. */
  get facts(): { full: boolean; help: Help; registryRate: number | undefined; nodes: number } {
    const { help, registryRate } = this.#slowPeers;
    return { full: this.#isFull, help, registryRate, nodes: this.#company.seekers + 1 };
  }

  /** All wait for complete peers that are slow: what these alone have counts as if nobody had it. */
  isFetchedAnyway(index: number): boolean {
    return this.#slowPeers.fetchesUnspread && this.#isUnspread(index);
  }

  /** Another node has fetched a piece from the registry. */
  fetchedByOther(): void {
    this.#fetchedByOthers += this.#options.geometry.pieceLength;
  }

  /** @param order missing pieces; @returns whether the verdict is another one now */
  look(now: number, registry: RegistryPieces, order: readonly number[]): boolean {
    const most = this.#options.most?.() ?? 0;
    const nodes = this.#company.seekers + 1;
    const before = this.#last;
    const ms = now - before.at;
    // Where many wait, nothing is decided in a moment.
    if (ms < LOOK_MS * Math.min(nodes, MOST_LOOKS)) return false;
    const { delivered } = registry;
    const { fromPeers } = this.#view;
    this.#last = { at: now, fromPeers, delivered };
    const had = this.#toBeHad(order);
    this.#isFull = most > 0 && had.backlog > (most * FULL_MS) / 1000;
    const { help } = this.#slowPeers;
    this.#slowPeers.observe({
      ms,
      fromPeers: fromPeers - before.fromPeers,
      peers: this.#view.activePeers,
      isAsking: registry.open.size > 0,
      delivered: {
        bytes: delivered.bytes - before.delivered.bytes,
        ms: delivered.ms - before.delivered.ms,
      },
      ...had,
      fetchedByOthers: this.#fetchedByOthers,
      fetcher: this.#company.isFetcher,
      nodes,
      most: most === 0 ? Infinity : most / 1000,
    });
    this.#fetchedByOthers = 0;
    return this.#slowPeers.help !== help;
  }

  /** Bytes that peers have and this node lacks, and those that complete peers alone have. */
  #toBeHad(order: readonly number[]): { readonly backlog: number; readonly unspread: number } {
    let [pieces, unspread] = [0, 0];
    for (const index of order) {
      if (this.#view.has(index) || this.#view.holders(index) === 0) continue;
      pieces++;
      if (this.#isUnspread(index)) unspread++;
    }
    const { pieceLength } = this.#options.geometry;
    return { backlog: pieces * pieceLength, unspread: unspread * pieceLength };
  }

  #isUnspread(index: number): boolean {
    return this.#view.holders(index) <= this.#company.seeds;
  }
}
