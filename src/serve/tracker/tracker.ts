import Server, {
  type AnnounceParams,
  type AnnounceResponse,
  type TrackerSwarm,
} from 'bittorrent-tracker/server';
import { encodeBencode } from '../../metainfo/bencode.ts';
import { parseInfoHash, type InfoHash } from '../../metainfo/info-hash.ts';
import type { Exchange, Route } from '../http/exchange.ts';
import { peerAddress, plainAddress } from './address.ts';
import { PeerList } from './peer-list.ts';

/** Short: machines that start together must find each other together. */
const SHORTEST_INTERVAL_SECONDS = 30;
const LONGEST_INTERVAL_SECONDS = 300;
/** So many announces each second are comfortable beside everything else; with more peers the interval grows. */
const ANNOUNCES_PER_SECOND = 500;
/** A peer that has missed two announces and a bit is gone. */
const MISSED_INTERVALS = 2.5;
const SWEEP_MS = 10_000;
const DEFAULT_PEERS = 50;
const MAX_PEERS = 100;
const EVENTS = new Set(['', 'empty', 'started', 'stopped', 'completed', 'update', 'paused']);

export interface TrackerOptions {
  /** True for an info hash whose torrent this service has made. */
  readonly knows: (infoHash: InfoHash) => boolean;
}

/** The HTTP tracker (BEP 3, 7, 23): bittorrent-tracker parses and answers, peers are kept here. */
export class Tracker {
  readonly #server: Server;
  readonly #swarms = new Map<string, PeerList>();
  readonly #sweeper: NodeJS.Timeout;
  /** Of all swarms, as of the last sweep: good enough for the interval. */
  #peerCount = 0;

  constructor({ knows }: TrackerOptions) {
    this.#server = new Server({
      http: false,
      udp: false,
      ws: false,
      stats: false,
      interval: SHORTEST_INTERVAL_SECONDS * 1000,
      filter: (infoHash, params, callback) => callback(whyRefused(infoHash, params, knows)),
    });
    // The library's swarms keep peers by least use, for 20 minutes, and hand out every address to everybody.
    this.#server.getSwarm = (infoHash, callback) => callback(null, this.#swarm(infoHash));
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** `/announce` */
  readonly announceRoute: Route = (exchange) => {
    this.#hand(exchange);
  };

  /** `/scrape`: for holders of a token only, and there are none yet. (The library's answers to it are malformed.) */
  readonly scrapeRoute: Route = (exchange) => {
    answerHeaders(exchange);
    exchange.response.end(failure('unapproved request: missing jwt'));
  };

  close(): void {
    clearInterval(this.#sweeper);
    this.#server.close();
  }

  #hand(exchange: Exchange): void {
    const { request, response, rawQuery, query } = exchange;
    answerHeaders(exchange);
    const question = {
      url: `/announce?${rawQuery}`,
      headers: {},
      connection: { remoteAddress: plainAddress(request.socket.remoteAddress ?? '') },
      namedAddress: query.get('ip') ?? undefined,
    };
    this.#server.onHttpRequest(question, response, { action: 'announce' });
  }

  #swarm(infoHash: string): TrackerSwarm {
    return {
      announce: (params, callback) => callback(null, this.#announce(infoHash, params)),
    };
  }

  #announce(infoHash: string, params: AnnounceParams): AnnounceResponse {
    // BEP 23 lets a tracker always answer so; the library mangles peer ids in the long form.
    params.compact = 1;
    const peers = this.#swarms.get(infoHash) ?? new PeerList();
    const now = Date.now();
    const interval = this.#interval();
    const peer = {
      peerId: params.peer_id,
      source: params.ip,
      ip: peerAddress(params.ip, params.httpReq.namedAddress),
      port: params.port,
      complete: params.left === 0,
      expires: now + interval * MISSED_INTERVALS * 1000,
    };
    peers.expire(now);
    const stopped = params.event === 'stopped';
    if (stopped) peers.remove(peer);
    else peers.add(peer);
    if (peers.size === 0) this.#swarms.delete(infoHash);
    else this.#swarms.set(infoHash, peers);
    const wanted = params.numwant >= 0 ? Math.min(params.numwant, MAX_PEERS) : DEFAULT_PEERS;
    return { ...peers.count(), interval, peers: stopped ? [] : peers.others(peer, wanted) };
  }

  #interval(): number {
    const seconds = Math.ceil(this.#peerCount / ANNOUNCES_PER_SECOND);
    return Math.min(LONGEST_INTERVAL_SECONDS, Math.max(SHORTEST_INTERVAL_SECONDS, seconds));
  }

  #sweep(): void {
    const now = Date.now();
    this.#peerCount = 0;
    for (const [infoHash, peers] of this.#swarms) {
      peers.expire(now);
      this.#peerCount += peers.size;
      if (peers.size === 0) this.#swarms.delete(infoHash);
    }
  }
}

function whyRefused(
  infoHash: string,
  { event }: AnnounceParams,
  knows: TrackerOptions['knows'],
): Error | undefined {
  if (event !== undefined && !EVENTS.has(event)) return new Error('invalid event');
  return knows(parseInfoHash(infoHash)) ? undefined : new Error('unapproved request: unknown info hash');
}

function answerHeaders({ response }: Exchange): void {
  response.setHeader('content-type', 'text/plain');
  response.setHeader('cache-control', 'no-store');
}

/** A refusal is a 200 with a reason: that is how clients of BEP 3 know it. */
function failure(reason: string): Uint8Array {
  return encodeBencode({ 'failure reason': reason });
}
