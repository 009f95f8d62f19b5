import Server, {
  type AnnounceParams,
  type AnnounceResponse,
  type TrackerRequest,
  type TrackerSwarm,
} from 'bittorrent-tracker/server';
import { isLoopbackAddress, plainAddress } from '../../base/ip-address.ts';
import { encodeBencode } from '../../metainfo/bencode.ts';
import type { InfoHash, PeerRule } from '../../metainfo/metainfo.ts';
import type { ObservedAnnounce } from '../observe/observer.ts';
import type { ServeListener } from '../events.ts';
import { ClientLimiter, type ClientLimit } from '../../http-server/client-limiter.ts';
import type { RequestContext, Route } from '../../http-server/request-context.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import { peerAddress } from './address.ts';
import { PeerList } from './peer-list.ts';
import { scrapeAnswer, scrapedHash } from './scrape.ts';

/** The announce interval with few peers: short, so that machines that start together find each other. */
const SHORTEST_INTERVAL_SECONDS = 30;
/** The announce interval with many peers. */
const LONGEST_INTERVAL_SECONDS = 300;
/** So many announces each second are comfortable beside everything else; with more peers the interval grows. */
const ANNOUNCES_PER_SECOND = 500;
/** A peer that has missed two announces and a bit is gone. */
const MISSED_INTERVALS = 2.5;
const SWEEP_MS = 10_000;
/** Peers that an announce without `numwant` is told. */
const DEFAULT_PEERS = 50;
/** Peers that one announce is told. */
const MAX_PEERS = 100;
const EVENTS = new Set(['', 'empty', 'started', 'stopped', 'completed', 'update', 'paused']);

/**
 * Announces of one site, per second and at once. A site may seed thousands of blobs, and its machines may all start
 * together.
 */
const ANNOUNCE_LIMIT: ClientLimit = { perSecond: 200, burst: 4000 };
/** An account may be that of a fleet at several sites. */
const SUBJECT_FACTOR = 2;
/** Peers of all swarms, about 400 bytes each. */
const MAX_PEERS_IN_ALL = 200_000;

const NO_KEY = 'this swarm is for nodes that name their key (serve --peers tls)';

export interface TrackerOptions {
  readonly tokens: AnnounceTokens;
  readonly listener: ServeListener;
  /** Announces and scrapes of one site; of the holders of one subject's tokens twice as many. */
  readonly limit?: ClientLimit | undefined;
  /** `tls`: only nodes whose token is bound to a key are told of each other. */
  readonly peers?: PeerRule | undefined;
  /** Told of every announce that is taken. */
  readonly onAnnounce?: ((announce: ObservedAnnounce) => void) | undefined;
  /** Sources whose `ip=` is believed: `serve --announce-from`. */
  readonly isBelieved?: ((source: string) => boolean) | undefined;
}

/** The HTTP tracker (BEP 3, 7, 23): bittorrent-tracker parses and answers, peers are kept here. */
export class Tracker {
  readonly #server: Server;
  readonly #swarms = new Map<string, PeerList>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #options: TrackerOptions;
  readonly #limiter: ClientLimiter;
  readonly #subjectLimiter: ClientLimiter;
  /** The sum over all swarms. */
  #peerCount = 0;

  constructor(options: TrackerOptions) {
    this.#options = options;
    const { perSecond, burst } = options.limit ?? ANNOUNCE_LIMIT;
    this.#limiter = new ClientLimiter({ perSecond, burst });
    this.#subjectLimiter = new ClientLimiter({
      perSecond: perSecond * SUBJECT_FACTOR,
      burst: burst * SUBJECT_FACTOR,
    });
    this.#server = new Server({
      http: false,
      udp: false,
      ws: false,
      stats: false,
      interval: SHORTEST_INTERVAL_SECONDS * 1000,
      filter: (infoHash, params, callback) => {
        void this.#whyRefused(infoHash, params).then(
          (reason) => callback(reason === undefined ? undefined : new Error(reason)),
          () => callback(new Error('internal error')),
        );
      },
    });
    // The library's swarms keep peers by least use, for 20 minutes, and hand out every address to everybody.
    this.#server.getSwarm = (infoHash, callback) => callback(null, this.#swarm(infoHash));
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** `/announce` */
  readonly announceRoute: Route = (exchange) => {
    answerHeaders(exchange);
    if (this.#admits(exchange)) this.#hand(exchange);
  };

  /** `/scrape` (BEP 48): of one swarm, for holders of its token. */
  readonly scrapeRoute: Route = async (exchange) => {
    answerHeaders(exchange);
    if (!this.#admits(exchange)) return;
    const { query, rawQuery, response } = exchange;
    const [token, ...moreTokens] = query.getAll('jwt');
    const infoHash = scrapedHash(rawQuery);
    const holder = await this.#options.tokens.check(moreTokens.length === 0 ? token : null, infoHash ?? '', {
      stopped: false,
    });
    if (typeof holder === 'string' || infoHash === undefined) {
      response.end(failure(typeof holder === 'string' ? holder : 'unapproved request: invalid jwt'));
      return;
    }
    response.end(scrapeAnswer(infoHash, this.#swarms.get(infoHash)?.count()));
  };

  /** The counts at this moment. */
  get counts(): { readonly swarms: number; readonly peers: number } {
    let peers = 0;
    for (const list of this.#swarms.values()) peers += list.size;
    return { swarms: this.#swarms.size, peers };
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#server.close();
  }

  #admits({ site, response }: RequestContext): boolean {
    if (this.#limiter.admit(site)) return true;
    this.#options.listener({ kind: 'announced', outcome: 'limited' });
    response.end(failure('too many announces from this address'));
    return false;
  }

  /** Before the answer: an announce without a token that is good for its swarm changes nothing and learns nothing. */
  async #whyRefused(infoHash: string, params: AnnounceParams): Promise<string | undefined> {
    const { event, jwt } = params;
    const stopped = event === 'stopped';
    const reason =
      event !== undefined && !EVENTS.has(event)
        ? 'invalid event'
        : await this.#whyNotThisHolder(infoHash, jwt, stopped, params.httpReq);
    this.#options.listener({ kind: 'announced', outcome: reason === undefined ? 'accepted' : 'refused' });
    return reason;
  }

  async #whyNotThisHolder(
    infoHash: string,
    jwt: unknown,
    stopped: boolean,
    request: TrackerRequest,
  ): Promise<string | undefined> {
    const holder = await this.#options.tokens.check(jwt, infoHash, { stopped });
    if (typeof holder === 'string') return holder;
    const { subject, keyThumbprint } = holder;
    if (this.#options.peers === 'tls' && keyThumbprint === undefined) return NO_KEY;
    if (subject !== undefined && !this.#subjectLimiter.admit(subject))
      return 'too many announces of this account';
    if (!stopped && this.#peerCount >= MAX_PEERS_IN_ALL) return 'too many peers, try again later';
    request.subject = subject;
    return undefined;
  }

  #hand({ client, response, rawQuery, query }: RequestContext): void {
    const question = {
      url: `/announce?${rawQuery}`,
      headers: {},
      connection: { remoteAddress: client },
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
    const { namedAddress } = params.httpReq;
    const peer = {
      peerId: params.peer_id,
      source: params.ip,
      subject: params.httpReq.subject,
      ip: peerAddress(params.ip, namedAddress, this.#options.isBelieved ?? isLoopbackAddress),
      port: params.port,
      complete: params.left === 0,
      expires: now + interval * MISSED_INTERVALS * 1000,
    };
    this.#options.onAnnounce?.({
      infoHash: infoHash as InfoHash,
      peerId: params.peer_id,
      source: params.ip,
      port: params.port,
      left: params.left,
      uploaded: bytesOf(params.uploaded),
      isStopped: params.event === 'stopped',
      expiresMs: interval * MISSED_INTERVALS * 1000,
    });
    const before = peers.size;
    peers.expire(now);
    const stopped = params.event === 'stopped';
    if (stopped) peers.remove(peer);
    else peers.add(peer);
    this.#peerCount += peers.size - before;
    if (params.event === 'completed') peers.downloaded++;
    if (peers.size === 0) this.#swarms.delete(infoHash);
    else this.#swarms.set(infoHash, peers);
    const wanted = params.numwant >= 0 ? Math.min(params.numwant, MAX_PEERS) : DEFAULT_PEERS;
    const { complete, incomplete } = peers.count();
    const answer = { complete, incomplete, interval, peers: stopped ? [] : peers.others(peer, wanted) };
    if (namedAddress === undefined || peer.ip === plainAddress(namedAddress)) return answer;
    const warning = `listed at ${peer.ip}: an address that a peer names is believed with serve --announce-from`;
    return { ...answer, 'warning message': warning };
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

/** Of a query; 0 for what is no number. */
function bytesOf(value: unknown): number {
  const number = typeof value === 'string' ? Number(value) : Number.NaN;
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

function answerHeaders({ response }: RequestContext): void {
  response.setHeader('content-type', 'text/plain');
  response.setHeader('cache-control', 'no-store');
}

/** A refusal is a 200 with a reason: that is how clients of BEP 3 know it. */
function failure(reason: string): Uint8Array {
  return encodeBencode({ 'failure reason': reason });
}
