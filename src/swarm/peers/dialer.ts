import { isIP } from 'node:net';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import type { InfoHash } from '../../metainfo/metainfo.ts';
import { PeerWire } from '../wire/peer-wire.ts';

const CONNECT_TIMEOUT_MS = 5000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Outgoing connections of one torrent. */
const MAX_OUTGOING = 80;
/** What is remembered of addresses: more than a tracker names. */
const MAX_ADDRESSES = 1000;
/** After the first, the second, the third failure; then it waits to be named by a tracker again. Milliseconds. */
const RETRY_MS = [1000, 5000, 15_000];

/** `encryption` of DialerOptions. */
const RC4_ONLY = 2;

interface Place {
  failures: number;
  /** Being dialled, or connected. */
  busy: boolean;
  /** Its next dialling is in plaintext: it did not understand the encrypted handshake. */
  plaintext: boolean;
}

export interface DialerOptions {
  readonly infoHash: InfoHash;
  readonly peerId: string;
  /** 0: none, 1: encrypted first, 2: encrypted only. */
  readonly encryption: number;
  readonly limiter: RateLimiter;
  /** Not worth a connection: ourselves, a liar, somebody who is connected. */
  readonly refuses: (address: string) => boolean;
  /** Connection attempts per second are limited over all torrents. */
  readonly tryDial: () => boolean;
  readonly dialWaitMs: number;
  /** The handshake is done. */
  readonly onWire: (wire: PeerWire, address: string) => void;
}

/** Connects to the peers that the trackers of one torrent name. */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #places = new Map<string, Place>();
  #queue: string[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #outgoing = 0;
  /** Whose handshake is not here yet. */
  readonly #pending = new Set<PeerWire>();
  #waiting = false;
  #stopped = false;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /** @param address `host:port` */
  add(address: string): void {
    const known = this.#places.get(address);
    if (known?.busy === true || this.#queue.includes(address)) return;
    if (known === undefined) {
      if (this.#places.size >= MAX_ADDRESSES) return;
      this.#places.set(address, { failures: 0, busy: false, plaintext: false });
    }
    this.#queue.push(address);
    this.#drain();
  }

  stop(): void {
    this.#stopped = true;
    this.#queue = [];
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const wire of this.#pending) wire.destroy();
  }

  #drain(): void {
    const { refuses, tryDial, dialWaitMs } = this.#options;
    while (!this.#stopped && !this.#waiting && this.#outgoing < MAX_OUTGOING) {
      const [address] = this.#queue;
      if (address === undefined) return;
      if (refuses(address)) {
        this.#queue.shift();
        continue;
      }
      if (!tryDial()) return this.#waitForTurn(dialWaitMs);
      this.#queue.shift();
      this.#dial(address);
    }
  }

  #waitForTurn(ms: number): void {
    this.#waiting = true;
    this.#later(ms, () => {
      this.#waiting = false;
      this.#drain();
    });
  }

  #dial(address: string): void {
    const place = this.#places.get(address);
    const end = endOf(address);
    if (place === undefined || end === undefined) return;
    const { infoHash, peerId, encryption, limiter, onWire } = this.#options;
    const isPlain = place.plaintext || encryption === 0;
    place.plaintext = false;
    place.busy = true;
    this.#outgoing++;
    const wire = PeerWire.dial(end, isPlain ? 0 : encryption, limiter);
    const shake = (): void => {
      // Asked for an encrypted payload, it chose another: it is not told what is wanted either.
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
    wire.once('handshake', (theirs: string) => {
      shaken = true;
      this.#pending.delete(wire);
      clearTimeout(timer);
      if (theirs === infoHash && !this.#stopped) onWire(wire, address);
      else wire.destroy();
    });
    wire.once('close', () => {
      clearTimeout(timer);
      this.#pending.delete(wire);
      this.#outgoing--;
      place.busy = false;
      place.plaintext = connected && !shaken && !isPlain && encryption === 1;
      this.#again(address, place);
    });
  }

  /** A plaintext attempt follows at once; others later, unless somebody at that address is not wanted any more. */
  #again(address: string, place: Place): void {
    if (this.#stopped) return;
    const delay = place.plaintext ? 0 : RETRY_MS[place.failures++];
    if (delay === undefined) place.failures = 0;
    else this.#later(delay, () => (this.#options.refuses(address) ? undefined : this.add(address)));
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

/** `1.2.3.4:5`, `[::1]:5`; undefined for what is no address of a peer. */
function endOf(address: string): { host: string; port: number } | undefined {
  const match = /^\[?(.+?)\]?:(\d{1,5})$/.exec(address);
  const [, host = '', digits = ''] = match ?? [];
  const port = Number(digits);
  return host !== '' && port > 0 && port < 65536 && (isIP(host) > 0 || /^[\w.-]+$/.test(host))
    ? { host, port }
    : undefined;
}
