import { PeerBans } from './peer-bans.ts';
import type { Availability } from './availability.ts';
import { countOf, hostOf, isBitfieldOf, makePeer, type Peer } from './peer.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import type { BlockRequest } from './transfer.ts';

/** A peer that owes us something and brings nothing for so long is not counted on. Milliseconds. */
const STALL_MS = 4000;
/** It gets another chance after this, then after twice as long, ... */
const STALL_REST_MS = 10_000;
/** Choking and unchoking is no sign of life more often than this, without a block between. */
const MAX_UNCHOKES = 2;
/** Who refuses so many requests on end gives nothing (a peer that is choking may refuse hundreds at once). */
const MAX_REFUSALS = 64;
/** What it has, as a whole, a peer says at first (BEP 3, BEP 6); aria2 also later, in place of several `have`. */
const MAX_FIRST_BITFIELDS = 4;
const MAX_CONNECTIONS = 200;
/** Whoever comes by himself leaves room for those whom a tracker names. */
const MAX_INCOMING = 120;
/** Two that dial each other do so within this time. Milliseconds. */
const SIMULTANEOUS_MS = 10_000;

export interface ConnectionEvents {
  /** A peer that is welcome: its handshake is here, ours goes out after this, where it has not. */
  readonly onJoined: (peer: Peer) => void;
  /** `gone`: the peer, when it was its only connection; `asked`: what it owed. */
  readonly onLeft: (peer: Peer, gone: string | undefined) => void;
  readonly onHave: (peer: Peer, index: number) => void;
  /** It has other pieces than before, or unchoked us: there may be something to ask for. */
  readonly onChanged: (peer: Peer) => void;
  /** Requests that will not be answered. */
  readonly onRefused: (peer: Peer, requests: readonly BlockRequest[]) => void;
  readonly onStalled: (peer: Peer) => void;
}

export interface ConnectionOptions {
  readonly selfId: string;
  readonly pieceCount: number;
  /** No peer whose payload is readable on the way. */
  readonly encryptedOnly: boolean;
  readonly availability: Availability;
  readonly events: ConnectionEvents;
}

/** The peers of one torrent: one connection with each, none with ourselves, none with liars. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #peers = new Map<PeerWire, Peer>();
  readonly #book = new PeerBans();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#peers.size;
  }

  get peers(): Iterable<Peer> {
    return this.#peers.values();
  }

  peerOf(wire: PeerWire): Peer | undefined {
    return this.#peers.get(wire);
  }

  /** Not to be dialled: ourselves, a liar, or somebody we are connected with. */
  refuses(address: string): boolean {
    if (this.#book.isBannedAddress(address)) return true;
    const peerId = this.#book.peerAt(address);
    if (peerId === undefined) return this.#isReachedAt(address);
    return peerId === this.#options.selfId || this.#book.isBanned(peerId) || this.#find(peerId) !== undefined;
  }

  /** Its handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    const { encryptedOnly, availability, events } = this.#options;
    const { peerId } = wire;
    if (wire.destroyed || peerId === null || (encryptedOnly && !wire.isEncrypted)) return void wire.destroy();
    if (address !== undefined) this.#book.answered(address, peerId);
    if (!this.#isWelcome(wire, peerId) || !this.#endDuplicate(wire, peerId)) return void wire.destroy();
    const peer = makePeer(wire, peerId, address);
    this.#peers.set(wire, peer);
    availability.add(wire);
    this.#listen(peer);
    events.onJoined(peer);
  }

  /** It brought something. */
  progressed(peer: Peer): void {
    peer.progressAt = performance.now();
    peer.unchokes = 0;
    peer.refusals = 0;
    if (peer.stalledUntil !== undefined) this.#revive(peer);
    else peer.stalls = 0;
  }

  /** It will not bring something. */
  refused(peer: Peer): void {
    peer.refusals++;
    if (peer.refusals > MAX_REFUSALS && peer.stalledUntil === undefined) this.#stall(peer, performance.now());
  }

  /** Looks for peers that owe something and bring nothing, and gives rested ones another chance. */
  tick(now: number): void {
    for (const peer of this.#peers.values()) {
      const { wire, transfer } = peer;
      if (peer.stalledUntil !== undefined) {
        if (now >= peer.stalledUntil) this.#revive(peer);
        continue;
      }
      const owes = transfer.count > 0 || (wire.amInterested && wire.peerChoking);
      if (!owes) peer.progressAt = now;
      else if (now - peer.progressAt > STALL_MS) this.#stall(peer, now);
    }
  }

  close(): void {
    for (const wire of [...this.#peers.keys()]) wire.destroy();
  }

  #find(peerId: string): Peer | undefined {
    for (const peer of this.#peers.values()) if (peer.peerId === peerId) return peer;
    return undefined;
  }

  #isWelcome(newcomer: PeerWire, peerId: string): boolean {
    if (peerId === this.#options.selfId || this.#book.isBanned(peerId)) return false;
    if (this.size >= MAX_CONNECTIONS) return false;
    if (!newcomer.incoming) return true;
    let came = 0;
    for (const { wire } of this.#peers.values()) if (wire.incoming) came++;
    return came < MAX_INCOMING && !this.#book.isBannedHost(hostOf(newcomer));
  }

  #isReachedAt(address: string): boolean {
    for (const peer of this.#peers.values()) if (peer.address === address) return true;
    return false;
  }

  /**
   * Both ends dial each other. Both keep the connection that the greater peer id dialled, so both end the same. An old
   * connection stays: an id is known to many, and whoever comes with it may be somebody else.
   * @returns false when it is the new one that ends
   */
  #endDuplicate(wire: PeerWire, peerId: string): boolean {
    const former = this.#find(peerId);
    if (former === undefined) return true;
    const keepOurs = this.#options.selfId > peerId;
    const isOld = performance.now() - former.since > SIMULTANEOUS_MS;
    if (isOld || former.wire.incoming === wire.incoming || wire.incoming === keepOurs) return false;
    former.wire.destroy();
    return true;
  }

  #listen(peer: Peer): void {
    const { availability, events, pieceCount } = this.#options;
    const { wire, transfer } = peer;
    let told = 0;
    const tells = (): void => {
      if (++told > MAX_FIRST_BITFIELDS + pieceCount)
        return wire.reportViolation('one bitfield after the other');
      availability.changed();
      peer.count = countOf(wire, pieceCount);
      events.onChanged(peer);
    };
    wire.on('have-all', tells);
    wire.on('have-none', tells);
    wire.on('bitfield', () => {
      if (isBitfieldOf(wire, pieceCount)) tells();
      else wire.reportViolation('a bitfield of another length');
    });
    wire.on('extended', (name: string) => {
      if (name !== 'handshake') return;
      // BEP 10: where it is reached. An incoming connection comes from another port.
      const port = wire.peerExtendedHandshake['p'];
      if (wire.incoming && typeof port === 'number') peer.address = `${peer.host}:${port}`;
      events.onChanged(peer);
    });
    wire.on('have', (index: number) => {
      if (index < 0 || index >= pieceCount) return wire.reportViolation('a piece that does not exist');
      peer.count++;
      availability.have(wire, index);
      events.onHave(peer, index);
    });
    wire.on('unchoke', () => {
      if (++peer.unchokes <= MAX_UNCHOKES) peer.progressAt = performance.now();
      if (peer.stalledUntil !== undefined && peer.stalledByChoke) this.#revive(peer);
      events.onChanged(peer);
    });
    // BEP 6: with the fast extension each request is refused by name.
    wire.on('choke', () => {
      if (!wire.hasFast) events.onRefused(peer, transfer.cancel());
    });
    wire.once('close', () => this.#left(peer));
  }

  #stall(peer: Peer, now: number): void {
    const { availability, events } = this.#options;
    peer.stalledUntil = now + STALL_REST_MS * 2 ** peer.stalls;
    peer.stalls++;
    peer.stalledByChoke = peer.wire.peerChoking;
    peer.refusals = 0;
    availability.remove(peer.wire);
    events.onRefused(peer, peer.transfer.cancel());
    events.onStalled(peer);
  }

  #revive(peer: Peer): void {
    peer.stalledUntil = undefined;
    peer.progressAt = performance.now();
    this.#options.availability.add(peer.wire);
    this.#options.events.onChanged(peer);
  }

  #left(peer: Peer): void {
    const { availability, events } = this.#options;
    if (peer.wire.offence !== undefined) this.#book.ban(peer.peerId, peer);
    this.#peers.delete(peer.wire);
    availability.remove(peer.wire);
    events.onRefused(peer, [...peer.transfer.requests]);
    events.onLeft(peer, this.#find(peer.peerId) === undefined ? peer.peerId : undefined);
  }
}
