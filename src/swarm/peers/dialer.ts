import { isIP } from 'node:net';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import type { InfoHash, PeerRule } from '../../metainfo/metainfo.ts';
import { admitDialled } from '../admission/handshake.ts';
import type { TorrentAdmission } from '../admission/torrent-admission.ts';
import type { PeerTls } from '../wire/peer-tls.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { dialPeer, dialPeerTls } from '../wire/dial.ts';
import type { DialLimits } from './dial-limits.ts';
import type { ThirdParties } from './third-parties.ts';

/** The longest wait for an outgoing connection. */
const CONNECT_TIMEOUT_MS = 5000;
/** A peer that can be reached at all has answered by then. Milliseconds. */
const OVERDUE_MS = 1000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Outgoing connections of one torrent. */
const MAX_OUTGOING = 80;
/** Addresses that are remembered of one torrent: more than a tracker names. */
const MAX_ADDRESSES = 1000;
/** Ports that are remembered of one host: more nodes than that are seldom behind one address. */
const MAX_PORTS_PER_HOST = 200;
/** After the first, second and third failure; then an address waits to be named by a tracker again. Milliseconds. */
const RETRY_MS = [1000, 5000, 15_000];
/** When all that is left are hosts that have to wait, they are looked at again after this. Milliseconds. */
const LOOK_AGAIN_MS = 1000;

/** `encryption` of DialerOptions. */
const RC4_ONLY = 2;

/** One address that was named. */
interface Target {
  readonly host: string;
  readonly port: number;
  failures: number;
  /** Being dialled, or connected. */
  busy: boolean;
  /** The next attempt is without TLS: the last one found nobody who admits this node over TLS. */
  withoutTls: boolean;
}

export interface DialerOptions {
  readonly infoHash: InfoHash;
  readonly peerId: string;
  /** How connections without TLS are encrypted. 0: plaintext, 1: encrypted handshake, 2: encrypted payload, too. */
  readonly encryption: number;
  /** What other nodes are admitted by, over TLS; undefined where this node has no key, or the torrent no service. */
  readonly admission: TorrentAdmission | undefined;
  readonly tls: PeerTls | undefined;
  readonly peers: PeerRule | 'any';
  readonly thirdParties: ThirdParties;
  readonly limiter: RateLimiter;
  readonly dialLimits: DialLimits;
  /** Not worth a connection: this node itself, a banned peer, one that is connected. */
  readonly refuses: (address: string) => boolean;
  /** Connection attempts per second are limited over all torrents. */
  readonly tryDial: () => boolean;
  readonly dialWaitMs: number;
  /** Milliseconds after each failure; RETRY_MS, unless a test is in a hurry. */
  readonly retryMs?: readonly number[];
  /** The handshake is done. */
  readonly onWire: (wire: PeerWire, address: string) => void;
  /** For people: an attempt failed. */
  readonly onFailed?: (address: string, why: string) => void;
}

/** Connects to the peers of one torrent, by addresses that trackers named. */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #targets = new Map<string, Target>();
  readonly #portsOf = new Map<string, number>();
  /** Addresses to be dialled, oldest first. */
  readonly #queue = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #outgoing = 0;
  #hasFailed = false;
  /** When each attempt that is under way began, on the clock of performance.now. */
  readonly #begun = new Map<string, number>();
  /** Wires without a handshake yet. */
  readonly #pending = new Set<PeerWire>();
  #waiting = false;
  #looksAgain = false;
  #stopped = false;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /** @param address `host:port` */
  add(address: string): void {
    const target = this.#targets.get(address) ?? this.#remember(address);
    if (this.#stopped || target === undefined || target.busy) return;
    this.#queue.add(address);
    this.#drain();
  }

  /** Every address that is remembered: at most MAX_ADDRESSES. */
  get addresses(): Iterable<string> {
    return this.#targets.keys();
  }

  /** Whether an attempt to connect has failed or takes too long. @param now milliseconds, as performance.now */
  isOverdue(now: number): boolean {
    return this.#hasFailed || [...this.#begun.values()].some((begun) => now - begun > OVERDUE_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#queue.clear();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const wire of this.#pending) wire.destroy();
  }

  #remember(address: string): Target | undefined {
    const end = parseEnd(address);
    if (end === undefined || this.#targets.size >= MAX_ADDRESSES) return undefined;
    const ports = this.#portsOf.get(end.host) ?? 0;
    if (ports >= MAX_PORTS_PER_HOST) return undefined;
    this.#portsOf.set(end.host, ports + 1);
    const target = { ...end, failures: 0, busy: false, withoutTls: false };
    this.#targets.set(address, target);
    return target;
  }

  #drain(): void {
    const { refuses, tryDial, dialWaitMs, dialLimits } = this.#options;
    if (this.#stopped || this.#waiting) return;
    for (const address of this.#queue) {
      const target = this.#targets.get(address);
      if (this.#outgoing >= MAX_OUTGOING) return;
      if (target === undefined || refuses(address) || !this.#mayDial) {
        this.#queue.delete(address);
        continue;
      }
      if (!dialLimits.mayBegin(target.host, performance.now())) continue;
      if (!tryDial()) return this.#waitForTurn(dialWaitMs);
      this.#queue.delete(address);
      this.#dial(address, target);
    }
    if (this.#queue.size > 0) this.#lookAgain();
  }

  /** In a swarm of nodes only, one without a live token dials nobody: nobody would admit it. */
  get #mayDial(): boolean {
    const { peers, tls, admission } = this.#options;
    return peers === 'any' || (tls !== undefined && admission?.hasToken === true);
  }

  #waitForTurn(ms: number): void {
    this.#waiting = true;
    this.#later(ms, () => {
      this.#waiting = false;
      this.#drain();
    });
  }

  /** What is queued has to wait for its host. */
  #lookAgain(): void {
    if (this.#looksAgain) return;
    this.#looksAgain = true;
    this.#later(LOOK_AGAIN_MS, () => {
      this.#looksAgain = false;
      this.#drain();
    });
  }

  /** TLS first, where this node can be admitted by it; else, or where nobody does, BitTorrent's own handshake. */
  #dial(address: string, target: Target): void {
    const { tls, admission, peers, thirdParties } = this.#options;
    const isTls = peers === 'tls' || !(target.withoutTls || thirdParties.has(address, performance.now()));
    target.withoutTls = false;
    target.busy = true;
    this.#outgoing++;
    this.#options.dialLimits.begin(target.host);
    if (isTls && tls !== undefined && admission?.hasToken === true)
      this.#dialTls(address, target, tls, admission);
    else this.#dialBitTorrent(address, target);
  }

  #dialTls(address: string, target: Target, tls: PeerTls, admission: TorrentAdmission): void {
    const { host, port } = target;
    const { limiter, infoHash, peerId, peers, thirdParties } = this.#options;
    const wire = dialPeerTls({ host, port }, tls, limiter);
    let secure = false;
    wire.onceSecure(() => {
      secure = true;
      void admitDialled(wire, admission).then((admitted) => {
        if (admitted) wire.handshake(infoHash, peerId, { fast: true });
      });
    });
    this.#follow(address, target, wire, {
      onConnected: () => {},
      // In a swarm that is open to all, whoever does not admit this node over TLS may do so without.
      onUnanswered: (connected) => {
        if (peers === 'tls' || !connected || this.#stopped) return false;
        if (!secure) thirdParties.add(address, performance.now());
        target.withoutTls = true;
        return true;
      },
    });
  }

  #dialBitTorrent(address: string, target: Target): void {
    const { infoHash, peerId, encryption, limiter } = this.#options;
    const { host, port } = target;
    const wire = dialPeer({ host, port }, encryption, limiter);
    const shake = (): void => {
      // Asked for an encrypted payload, the peer chose another: it is not told the info hash either.
      if (encryption === RC4_ONLY && !wire.isEncrypted) wire.destroy();
      else wire.handshake(infoHash, peerId, { fast: true });
    };
    wire.once('crypto-handshake', shake);
    this.#follow(address, target, wire, {
      onConnected: () => (encryption === 0 ? shake() : wire.startEncryption(infoHash)),
      onUnanswered: () => false,
    });
  }

  /** An attempt on its way: until there is a handshake of the wire protocol, or the connection ends. */
  #follow(
    address: string,
    target: Target,
    wire: PeerWire,
    { onConnected, onUnanswered }: { onConnected: () => void; onUnanswered: (connected: boolean) => boolean },
  ): void {
    const { infoHash, dialLimits, onWire } = this.#options;
    const { host } = target;
    this.#pending.add(wire);
    this.#begun.set(address, performance.now());
    let connected = false;
    let timer = setTimeout(() => wire.destroy(), CONNECT_TIMEOUT_MS);
    wire.onceConnected(() => {
      connected = true;
      clearTimeout(timer);
      timer = setTimeout(() => wire.destroy(), HANDSHAKE_TIMEOUT_MS);
      onConnected();
    });
    let answered = false;
    wire.once('handshake', (theirs: string) => {
      answered = true;
      this.#begun.delete(address);
      dialLimits.ended(host, true, performance.now());
      this.#pending.delete(wire);
      clearTimeout(timer);
      if (theirs === infoHash && !this.#stopped) onWire(wire, address);
      else wire.destroy();
    });
    wire.once('close', () => {
      clearTimeout(timer);
      this.#begun.delete(address);
      this.#pending.delete(wire);
      this.#outgoing--;
      target.busy = false;
      if (answered) return this.#again(address, target);
      if (onUnanswered(connected)) {
        dialLimits.undecided(host);
        return this.add(address);
      }
      dialLimits.ended(host, false, performance.now());
      if (!this.#stopped) {
        this.#hasFailed = true;
        this.#options.onFailed?.(address, connected ? 'no handshake' : 'no connection');
      }
      this.#again(address, target);
    });
  }

  /** Later, unless the address is not wanted any more by then. */
  #again(address: string, target: Target): void {
    if (this.#stopped) return;
    const delay = (this.#options.retryMs ?? RETRY_MS)[target.failures++];
    if (delay === undefined) target.failures = 0;
    else
      this.#later(delay, () => {
        if (!this.#options.refuses(address)) this.add(address);
      });
    this.#drain();
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms).unref();
    this.#timers.add(timer);
  }
}

/** `1.2.3.4:5`, `[::1]:5`; undefined for what is not the address of a peer. */
function parseEnd(address: string): { host: string; port: number } | undefined {
  const match = /^\[?(.+?)\]?:(\d{1,5})$/.exec(address);
  const [, host = '', digits = ''] = match ?? [];
  const port = Number(digits);
  return host !== '' && port > 0 && port < 65536 && (isIP(host) > 0 || /^[\w.-]+$/.test(host))
    ? { host, port }
    : undefined;
}
