import type { Availability } from './availability.ts';
import type { PeerWire } from './peer-wire.ts';
import { Transfer, type Asked } from './transfer.ts';

/** A peer that owes us something and brings nothing for so long is not counted on. Milliseconds. */
const STALL_MS = 4000;
/** It gets another chance after this, then after twice as long, ... */
const STALL_REST_MS = 10_000;
const MAX_CONNECTIONS = 200;
/** What is remembered of addresses, banned peers: more than a swarm has. */
const MAX_REMEMBERED = 5000;

export interface ConnectionEvents {
  /** A peer that is welcome: its handshake is here, ours goes out after this, where it has not. */
  readonly onJoined: (peer: Peer) => void;
  /** `gone`: the peer, when it was its only connection; `asked`: what it owed. */
  readonly onLeft: (peer: Peer, gone: string | undefined) => void;
  readonly onHave: (peer: Peer, index: number) => void;
  /** It has other pieces than before, or unchoked us: there may be something to ask for. */
  readonly onChanged: (peer: Peer) => void;
  /** Requests that will not be answered. */
  readonly onRefused: (peer: Peer, asked: readonly Asked[]) => void;
  readonly onStalled: (peer: Peer) => void;
}

/** A connected peer. */
export interface Peer {
  readonly wire: PeerWire;
  readonly peerId: string;
  readonly transfer: Transfer;
  /** Pieces that it has. */
  count: number;
  /** Milliseconds: its last block, or the last time when nothing was owed. */
  progressAt: number;
  stalledUntil: number | undefined;
  stalls: number;
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
  /** Addresses at which peers are reached -> who is there. */
  readonly #answered = new Map<string, string>();
  readonly #banned = new Set<string>();

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
    const peerId = this.#answered.get(address);
    if (peerId === undefined) return false;
    return peerId === this.#options.selfId || this.#banned.has(peerId) || this.#find(peerId) !== undefined;
  }

  /** Its handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    const { selfId, encryptedOnly, availability, events } = this.#options;
    const { peerId } = wire;
    if (peerId === null || (encryptedOnly && !wire.isEncrypted)) return void wire.destroy();
    if (address !== undefined) this.#remember(address, peerId);
    const isWelcome = peerId !== selfId && !this.#banned.has(peerId) && this.size < MAX_CONNECTIONS;
    if (!isWelcome || !this.#endDuplicate(wire, peerId)) return void wire.destroy();
    const peer: Peer = {
      wire,
      peerId,
      transfer: new Transfer(wire),
      count: 0,
      progressAt: performance.now(),
      stalledUntil: undefined,
      stalls: 0,
    };
    this.#peers.set(wire, peer);
    availability.add(wire);
    this.#listen(peer);
    events.onJoined(peer);
  }

  /** Sent bytes that do not verify. */
  ban(wire: PeerWire): void {
    const peer = this.#peers.get(wire);
    if (peer !== undefined && this.#banned.size < MAX_REMEMBERED) this.#banned.add(peer.peerId);
    wire.destroy();
  }

  /** It brought something. */
  progressed(peer: Peer): void {
    peer.progressAt = performance.now();
    if (peer.stalledUntil !== undefined) this.#revive(peer);
    else peer.stalls = 0;
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

  #remember(address: string, peerId: string): void {
    if (this.#answered.size < MAX_REMEMBERED) this.#answered.set(address, peerId);
  }

  /**
   * Both ends dial each other. Both keep the connection that the greater peer id dialled, so both end the same.
   * @returns false when it is the new one that ends
   */
  #endDuplicate(wire: PeerWire, peerId: string): boolean {
    const former = this.#find(peerId);
    if (former === undefined) return true;
    const keepOurs = this.#options.selfId > peerId;
    if (former.wire.incoming === wire.incoming || wire.incoming === keepOurs) return false;
    former.wire.destroy();
    return true;
  }

  #listen(peer: Peer): void {
    const { availability, events } = this.#options;
    const { wire, transfer } = peer;
    const changed = (): void => {
      availability.changed();
      peer.count = countOf(wire, this.#options.pieceCount);
      events.onChanged(peer);
    };
    for (const event of ['bitfield', 'have-all', 'have-none']) wire.on(event, changed);
    wire.on('extended', (name: string) => {
      // BEP 10: where it is reached. An incoming connection comes from another port.
      const port = wire.peerExtendedHandshake['p'];
      if (name === 'handshake' && typeof port === 'number')
        this.#remember(`${hostOf(wire)}:${port}`, peer.peerId);
      changed();
    });
    wire.on('have', (index: number) => {
      if (index < 0 || index >= this.#options.pieceCount) return void wire.destroy();
      peer.count++;
      availability.have(wire, index);
      events.onHave(peer, index);
    });
    wire.on('unchoke', () => {
      this.progressed(peer);
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
    this.#peers.delete(peer.wire);
    availability.remove(peer.wire);
    events.onRefused(peer, [...peer.transfer.asked]);
    events.onLeft(peer, this.#find(peer.peerId) === undefined ? peer.peerId : undefined);
  }
}

function countOf({ peerPieces }: PeerWire, pieceCount: number): number {
  let count = 0;
  for (let index = 0; index < pieceCount; index++) if (peerPieces.get(index)) count++;
  return count;
}

function hostOf({ remoteAddress = '' }: PeerWire): string {
  const plain = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return plain.includes(':') ? `[${plain}]` : plain;
}
