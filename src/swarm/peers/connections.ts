import { PeerBans } from './peer-bans.ts';
import { countOf, hostOf, isBitfieldOf, makePeer, type Peer } from './peer.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import type { TorrentState } from './torrent-state.ts';

/** A peer that owes us something and brings nothing for so long is not counted on. Milliseconds. */
const STALL_MS = 4000;
/** It gets another chance after this, then after twice as long, ... */
const STALL_REST_MS = 10_000;
/** Choking and unchoking is no sign of life more often than this, without a block between. */
const MAX_UNCHOKES = 2;
/** Refused requests in a row after which a peer counts as giving nothing (a choking peer may refuse hundreds at once). */
const MAX_REFUSALS = 64;
/** What it has, as a whole, a peer says at first (BEP 3, BEP 6); aria2 also later, in place of several `have`. */
const MAX_FIRST_BITFIELDS = 4;
/** Connections of one torrent. */
const MAX_CONNECTIONS = 200;
/** Incoming connections of one torrent. They leave room for peers that the tracker names. */
const MAX_INCOMING = 120;
/** Two that dial each other do so within this time. Milliseconds. */
const SIMULTANEOUS_MS = 10_000;

export interface ConnectionOptions {
  readonly selfId: string;
  /** No peer whose payload is readable on the way. */
  readonly encryptedOnly: boolean;
}

/** The peers of one torrent: one connection with each, none with this node itself, none with banned ones. */
export class Connections {
  readonly #state: TorrentState;
  readonly #options: ConnectionOptions;
  readonly #bans = new PeerBans();

  constructor(state: TorrentState, options: ConnectionOptions) {
    this.#state = state;
    this.#options = options;
  }

  /** Not to be dialled: this node itself, a banned peer, or one that is connected. */
  refuses(address: string): boolean {
    if (this.#bans.isBannedAddress(address)) return true;
    const peerId = this.#bans.peerAt(address);
    if (peerId === undefined) return this.#isReachedAt(address);
    return peerId === this.#options.selfId || this.#bans.isBanned(peerId) || this.#find(peerId) !== undefined;
  }

  /** Its handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    const { encryptedOnly } = this.#options;
    const { peerId } = wire;
    if (wire.destroyed || peerId === null || (encryptedOnly && !wire.isEncrypted)) return void wire.destroy();
    if (address !== undefined) this.#bans.answered(address, peerId);
    if (!this.#isWelcome(wire, peerId) || !this.#endDuplicate(wire, peerId)) return void wire.destroy();
    const peer = makePeer(wire, peerId, address);
    this.#state.peers.set(wire, peer);
    this.#state.availability.add(wire);
    this.#listen(peer);
    this.#state.emit('peerJoining', peer);
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
    for (const peer of this.#state.peers.values()) {
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
    for (const wire of [...this.#state.peers.keys()]) wire.destroy();
  }

  #find(peerId: string): Peer | undefined {
    for (const peer of this.#state.peers.values()) if (peer.peerId === peerId) return peer;
    return undefined;
  }

  #isWelcome(newcomer: PeerWire, peerId: string): boolean {
    if (peerId === this.#options.selfId || this.#bans.isBanned(peerId)) return false;
    if (this.#state.peers.size >= MAX_CONNECTIONS) return false;
    if (!newcomer.incoming) return true;
    let came = 0;
    for (const { wire } of this.#state.peers.values()) if (wire.incoming) came++;
    return came < MAX_INCOMING && !this.#bans.isBannedHost(hostOf(newcomer));
  }

  #isReachedAt(address: string): boolean {
    for (const peer of this.#state.peers.values()) if (peer.address === address) return true;
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
    const { availability, pieceCount } = this.#state;
    const { wire, transfer } = peer;
    let told = 0;
    const tells = (): void => {
      if (++told > MAX_FIRST_BITFIELDS + pieceCount)
        return wire.reportViolation('one bitfield after the other');
      availability.changed();
      peer.count = countOf(wire, pieceCount);
      this.#state.emit('peerChanged', peer);
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
      this.#state.emit('peerChanged', peer);
    });
    wire.on('have', (index: number) => {
      if (index < 0 || index >= pieceCount) return wire.reportViolation('a piece that does not exist');
      peer.count++;
      availability.have(wire, index);
      this.#state.emit('peerHas', peer, index);
    });
    wire.on('unchoke', () => {
      if (++peer.unchokes <= MAX_UNCHOKES) peer.progressAt = performance.now();
      if (peer.stalledUntil !== undefined && peer.stalledByChoke) this.#revive(peer);
      this.#state.emit('peerChanged', peer);
    });
    // BEP 6: with the fast extension each request is refused by name.
    wire.on('choke', () => {
      if (!wire.hasFast) this.#state.emit('requestsLost', transfer.cancel());
    });
    wire.once('close', () => this.#left(peer));
  }

  #stall(peer: Peer, now: number): void {
    peer.stalledUntil = now + STALL_REST_MS * 2 ** peer.stalls;
    peer.stalls++;
    peer.stalledByChoke = peer.wire.peerChoking;
    peer.refusals = 0;
    this.#state.availability.remove(peer.wire);
    this.#state.emit('requestsLost', peer.transfer.cancel());
    this.#state.emit('peerStalled', peer);
  }

  #revive(peer: Peer): void {
    peer.stalledUntil = undefined;
    peer.progressAt = performance.now();
    this.#state.availability.add(peer.wire);
    this.#state.emit('peerChanged', peer);
  }

  #left(peer: Peer): void {
    if (peer.wire.offence !== undefined) this.#bans.ban(peer.peerId, peer);
    this.#state.peers.delete(peer.wire);
    this.#state.availability.remove(peer.wire);
    this.#state.emit('requestsLost', [...peer.transfer.requests]);
    this.#state.emit('peerLeft', peer, this.#find(peer.peerId) === undefined);
  }
}
