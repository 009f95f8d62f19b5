import type Wire from 'bittorrent-protocol';
import type { Torrent } from 'webtorrent';
import type { Availability } from './availability.ts';
import {
  boundHave,
  dialledAddress,
  isEncryptedEnough,
  watchBlocks,
  withdrawMetadataExtension,
} from './privates.ts';

/** A peer that owes us something and brings nothing for so long is not counted on. Milliseconds. */
const STALL_MS = 4000;
/** It gets another chance after this, then after twice as long, ... */
const STALL_REST_MS = 10_000;
const MAX_CONNECTIONS = 200;
/** What is remembered of addresses, banned peers: more than a swarm has. */
const MAX_REMEMBERED = 5000;

export interface ConnectionEvents {
  /** After the duplicates are gone, before the extended handshake goes out. */
  readonly onJoined: (wire: Wire) => void;
  /** The bitfield is out: requests may be answered. */
  readonly onReady: (wire: Wire) => void;
  /** `gone`: the peer, when it was its only connection. */
  readonly onLeft: (wire: Wire, gone: string | undefined) => void;
  readonly onHave: (wire: Wire, index: number) => void;
  readonly onBlock: (wire: Wire, index: number, offset: number, length: number, asked: boolean) => void;
  readonly onStalled: (wire: Wire) => void;
}

interface Connection {
  readonly peerId: string;
  readonly outgoing: boolean;
  /** Milliseconds: its last block, or the last time when nothing was owed. */
  progressAt: number;
  stalledUntil: number | undefined;
  stalls: number;
}

/** The peers of one torrent: one connection with each, none with ourselves, none with liars. */
export class Connections {
  readonly #torrent: Torrent;
  readonly #selfId: string;
  readonly #availability: Availability;
  readonly #events: ConnectionEvents;
  readonly #connections = new Map<Wire, Connection>();
  /** Addresses that were dialled -> who answered. */
  readonly #answered = new Map<string, string>();
  readonly #banned = new Set<string>();

  constructor(torrent: Torrent, selfId: string, availability: Availability, events: ConnectionEvents) {
    this.#torrent = torrent;
    this.#selfId = selfId;
    this.#availability = availability;
    this.#events = events;
  }

  get size(): number {
    return this.#connections.size;
  }

  wires(): Wire[] {
    return [...this.#connections.keys()];
  }

  peerIdOf(wire: Wire): string {
    return this.#connections.get(wire)?.peerId ?? '';
  }

  /** Not to be dialled: ourselves, a liar, or somebody we are connected with. */
  refuses(address: string): boolean {
    const peerId = this.#answered.get(address);
    if (peerId === undefined) return false;
    return peerId === this.#selfId || this.#banned.has(peerId) || this.#find(peerId) !== undefined;
  }

  accept(wire: Wire, pieceCount: number): void {
    const { peerId } = wire;
    if (peerId === null) return;
    if (!isEncryptedEnough(this.#torrent.client, wire)) return wire.destroy();
    withdrawMetadataExtension(wire);
    const address = dialledAddress(this.#torrent, wire);
    if (address !== undefined && this.#answered.size < MAX_REMEMBERED) this.#answered.set(address, peerId);
    if (peerId === this.#selfId || this.#banned.has(peerId) || this.size >= MAX_CONNECTIONS) {
      return wire.destroy();
    }
    const outgoing = wire.type === 'tcpOutgoing';
    if (!this.#endDuplicate(wire, peerId, outgoing)) return;
    const now = performance.now();
    this.#connections.set(wire, { peerId, outgoing, progressAt: now, stalledUntil: undefined, stalls: 0 });
    this.#listen(wire, pieceCount);
    this.#availability.add(wire);
    this.#events.onJoined(wire);
  }

  /** Sent bytes that do not verify. */
  ban(wire: Wire): void {
    const connection = this.#connections.get(wire);
    if (connection !== undefined && this.#banned.size < MAX_REMEMBERED) this.#banned.add(connection.peerId);
    wire.destroy();
  }

  /** Looks for peers that owe something and bring nothing, and gives rested ones another chance. */
  tick(now: number): void {
    for (const [wire, connection] of this.#connections) {
      if (connection.stalledUntil !== undefined) {
        if (now >= connection.stalledUntil) this.#revive(wire, connection, now);
        continue;
      }
      const owes = wire.requests.length > 0 || (wire.amInterested && wire.peerChoking);
      if (!owes) connection.progressAt = now;
      else if (now - connection.progressAt > STALL_MS) this.#stall(wire, connection, now);
    }
  }

  /** What was asked of this piece is taken back from everybody. */
  cancel(index: number): void {
    for (const wire of this.#connections.keys()) cancelRequests(wire, (piece) => piece === index);
  }

  #find(peerId: string): [Wire, Connection] | undefined {
    for (const entry of this.#connections) if (entry[1].peerId === peerId) return entry;
    return undefined;
  }

  /**
   * Both ends dial each other. Both keep the connection that the greater peer id dialled, so both end the same.
   * @returns false when it is the new one that ends
   */
  #endDuplicate(wire: Wire, peerId: string, outgoing: boolean): boolean {
    const found = this.#find(peerId);
    if (found === undefined) return true;
    const [former, { outgoing: formerOutgoing }] = found;
    const keepOurs = this.#selfId > peerId;
    if (formerOutgoing === outgoing || outgoing !== keepOurs) {
      wire.destroy();
      return false;
    }
    this.#left(former);
    former.destroy();
    return true;
  }

  #listen(wire: Wire, pieceCount: number): void {
    boundHave(wire, pieceCount);
    watchBlocks(wire, (index, offset, length, asked) => {
      const connection = this.#connections.get(wire);
      if (connection !== undefined && asked) this.#progress(wire, connection);
      this.#events.onBlock(wire, index, offset, length, asked);
    });
    const changed = (): void => this.#availability.changed();
    for (const event of ['bitfield', 'have-all', 'have-none', 'extended']) wire.on(event, changed);
    wire.on('have', (index: number) => {
      this.#availability.have(wire, index);
      this.#events.onHave(wire, index);
    });
    wire.on('unchoke', () => {
      const connection = this.#connections.get(wire);
      if (connection !== undefined) this.#progress(wire, connection);
    });
    wire.once('close', () => this.#left(wire));
    const ready = (): void => {
      // webtorrent sends the bitfield in a microtask; an unchoke before it would break the connection.
      setImmediate(() => {
        if (!wire.destroyed && this.#connections.has(wire)) this.#events.onReady(wire);
      });
    };
    if (this.#torrent.ready) ready();
    else this.#torrent.once('ready', ready);
  }

  #progress(wire: Wire, connection: Connection): void {
    const now = performance.now();
    connection.progressAt = now;
    if (connection.stalledUntil !== undefined) this.#revive(wire, connection, now);
    else connection.stalls = 0;
  }

  #stall(wire: Wire, connection: Connection, now: number): void {
    connection.stalledUntil = now + STALL_REST_MS * 2 ** connection.stalls;
    connection.stalls++;
    this.#availability.remove(wire);
    cancelRequests(wire, () => true);
    this.#events.onStalled(wire);
  }

  #revive(wire: Wire, connection: Connection, now: number): void {
    connection.stalledUntil = undefined;
    connection.progressAt = now;
    this.#availability.add(wire);
  }

  #left(wire: Wire): void {
    const connection = this.#connections.get(wire);
    if (connection === undefined) return;
    this.#connections.delete(wire);
    this.#availability.remove(wire);
    this.#events.onLeft(wire, this.#find(connection.peerId) === undefined ? connection.peerId : undefined);
  }
}

function cancelRequests(wire: Wire, which: (piece: number) => boolean): void {
  for (const { piece, offset, length } of wire.requests.slice()) {
    if (which(piece)) wire.cancel(piece, offset, length);
  }
}
