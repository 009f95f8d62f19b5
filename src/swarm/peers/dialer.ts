import { isIP } from 'node:net';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import type { InfoHash } from '../../metainfo/metainfo.ts';
import { PeerWire } from '../wire/peer-wire.ts';
import type { DialLimits } from './dial-limits.ts';

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
  /** The next attempt is in plaintext: the peer did not understand the encrypted handshake. */
  plaintext: boolean;
  /** Named by a tracker of this torrent, not known from another torrent: it may be told the info hash in plaintext. */
  named: boolean;
}

export interface DialerOptions {
  readonly infoHash: InfoHash;
  readonly peerId: string;
  /** 0: none, 1: encrypted first, 2: encrypted only. */
  readonly encryption: number;
  readonly limiter: RateLimiter;
  readonly dialLimits: DialLimits;
  /** Not worth a connection: this node itself, a banned peer, one that is connected. */
  readonly refuses: (address: string) => boolean;
  /** Connection attempts per second are limited over all torrents. */
  readonly tryDial: () => boolean;
  readonly dialWaitMs: number;
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

  /** @param address `host:port`, as a tracker of this torrent names it */
  add(address: string): void {
    this.#add(address, true);
  }

  /** @param address of a peer of a related torrent, which need not know this one */
  addRelated(address: string): void {
    this.#add(address, false);
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

  #add(address: string, named: boolean): void {
    const target = this.#targets.get(address) ?? this.#remember(address);
    if (this.#stopped || target === undefined) return;
    target.named ||= named;
    if (target.busy) return;
    this.#queue.add(address);
    this.#drain();
  }

  #remember(address: string): Target | undefined {
    const end = parseEnd(address);
    if (end === undefined || this.#targets.size >= MAX_ADDRESSES) return undefined;
    const ports = this.#portsOf.get(end.host) ?? 0;
    if (ports >= MAX_PORTS_PER_HOST) return undefined;
    this.#portsOf.set(end.host, ports + 1);
    const target = { ...end, failures: 0, busy: false, plaintext: false, named: false };
    this.#targets.set(address, target);
    return target;
  }

  #drain(): void {
    const { refuses, tryDial, dialWaitMs, dialLimits } = this.#options;
    if (this.#stopped || this.#waiting) return;
    for (const address of this.#queue) {
      const target = this.#targets.get(address);
      if (this.#outgoing >= MAX_OUTGOING) return;
      if (target === undefined || refuses(address)) {
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

  #dial(address: string, target: Target): void {
    const { infoHash, peerId, encryption, limiter, dialLimits, onWire } = this.#options;
    const { host, port } = target;
    const isPlain = target.plaintext || encryption === 0;
    target.plaintext = false;
    target.busy = true;
    this.#outgoing++;
    dialLimits.begin(host);
    this.#begun.set(address, performance.now());
    const wire = PeerWire.dial({ host, port }, isPlain ? 0 : encryption, limiter);
    const shake = (): void => {
      // Asked for an encrypted payload, the peer chose another: it is not told the info hash either.
      if (encryption === RC4_ONLY && !wire.isEncrypted) wire.destroy();
      else wire.handshake(infoHash, peerId, { fast: true });
    };
    this.#pending.add(wire);
    let connected = false;
    let timer = setTimeout(() => wire.destroy(), CONNECT_TIMEOUT_MS);
    wire.onceConnected(() => {
      connected = true;
      clearTimeout(timer);
      timer = setTimeout(() => wire.destroy(), HANDSHAKE_TIMEOUT_MS);
      if (isPlain) shake();
      else wire.startEncryption(infoHash);
    });
    wire.once('crypto-handshake', shake);
    let shaken = false;
    let counted = true;
    const ended = (answered: boolean): void => {
      if (counted) dialLimits.ended(host, answered, performance.now());
      counted = false;
    };
    wire.once('handshake', (theirs: string) => {
      shaken = true;
      this.#begun.delete(address);
      ended(true);
      this.#pending.delete(wire);
      clearTimeout(timer);
      if (theirs === infoHash && !this.#stopped) onWire(wire, address);
      else wire.destroy();
    });
    wire.once('close', () => {
      clearTimeout(timer);
      this.#begun.delete(address);
      if (!shaken && !this.#stopped) {
        this.#hasFailed = true;
        this.#options.onFailed?.(address, connected ? 'no handshake' : 'no connection');
      }
      this.#pending.delete(wire);
      this.#outgoing--;
      target.busy = false;
      const mayBePlain = connected && !shaken && !isPlain && encryption === 1 && target.named;
      target.plaintext = mayBePlain && !dialLimits.hasFailed(host);
      ended(false);
      this.#again(address, target);
    });
  }

  /** A plaintext attempt follows at once; others later, unless the address is not wanted any more by then. */
  #again(address: string, target: Target): void {
    if (this.#stopped) return;
    const delay = target.plaintext ? 0 : RETRY_MS[target.failures++];
    if (delay === undefined) target.failures = 0;
    else
      this.#later(delay, () => {
        if (!this.#options.refuses(address)) this.#add(address, target.named);
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
