/**
 * Everything that reaches into private parts of webtorrent 3.0.21 and bittorrent-protocol 5.0.9, each with its
 * reason. Look here first when either is updated.
 */
import Wire, { type WireRequest } from 'bittorrent-protocol';
import type WebTorrent from 'webtorrent';
import type { Piece, Torrent } from 'webtorrent';
import type { RateLimiter } from '../base/rate-limiter.ts';
import { decodeBencode } from '../metainfo/bencode.ts';
import { takePieceBuffer } from './piece-buffers.ts';

/** A block of 128 KiB, a bitfield of 16 MiB torrents, extended messages: nothing honest is longer. Bytes. */
const MAX_MESSAGE = 1024 * 1024;
/** Our own registry wire carries pieces whole: the largest piece (metainfo) and its header. */
const MAX_REGISTRY_MESSAGE = 16 * 1024 * 1024 + 9;
const MAX_HANDSHAKE_EXTENSION = 16 * 1024;
/** `secure` of webtorrent, `_encryptionMethod` of a wire. */
const FORCED = 2;
const RC4 = 2;

let guarded = false;

/**
 * bittorrent-protocol takes messages of any length that a peer announces, lets exceptions of its handlers end the
 * process, and reads the extended handshake with a decoder that `l-3:` keeps busy for ever. On the prototype,
 * because the first message of an incoming wire is parsed before anybody is told of the wire.
 */
export function guardWires(): void {
  if (guarded) return;
  guarded = true;
  // As a plain record: they are called with their wire below.
  const original = guardedOf(Wire.prototype);
  Wire.prototype._onMessageLength = function (this: Wire, header) {
    const length = new DataView(header.buffer, header.byteOffset).getUint32(0);
    const ours = this.type === 'webSeed' || this.type === 'registry';
    if (length > (ours ? MAX_REGISTRY_MESSAGE : MAX_MESSAGE)) this.destroy();
    else original._onMessageLength.call(this, header);
  };
  Wire.prototype._onMessage = function (this: Wire, message) {
    try {
      original._onMessage.call(this, message);
    } catch {
      this.destroy();
    }
  };
  Wire.prototype._onExtended = function (this: Wire, id, payload) {
    if (id === 0 && !isDecodable(payload)) return;
    original._onExtended.call(this, id, payload);
  };
}

interface Guarded {
  _onMessageLength: (this: Wire, header: Uint8Array) => void;
  _onMessage: (this: Wire, message: Uint8Array) => void;
  _onExtended: (this: Wire, id: number, payload: Uint8Array) => void;
}

function guardedOf(prototype: Guarded): Guarded {
  const { _onMessageLength, _onMessage, _onExtended } = prototype;
  return { _onMessageLength, _onMessage, _onExtended };
}

function isDecodable(payload: Uint8Array): boolean {
  if (payload.length > MAX_HANDSHAKE_EXTENSION) return false;
  try {
    decodeBencode(payload);
    return true;
  } catch {
    return false;
  }
}

/**
 * Limits that others share in (the registry, the direct download) in place of webtorrent's own. `exempt` is for
 * connections that were limited at their source.
 */
export function shareLimiters(
  client: WebTorrent,
  limiters: { readonly down: RateLimiter; readonly up: RateLimiter },
  closed: AbortSignal,
): { readonly exempt: (work: () => void) => void } {
  let off = false;
  for (const way of ['down', 'up'] as const) {
    const group = client.throttleGroups[way];
    const limiter = limiters[way];
    const plain = group.throttle.bind(group);
    if (limiter.bytesPerSecond === 0) continue;
    group.throttle = () => {
      const stream = plain();
      if (off) return stream;
      stream._transform = (chunk, done) => {
        limiter.take(chunk.length, closed).then(
          () => (stream.destroying ? undefined : done(null, chunk)),
          (error: unknown) => (stream.destroying ? undefined : done(error)),
        );
      };
      return stream;
    };
  }
  return {
    exempt(work) {
      off = true;
      try {
        work();
      } finally {
        off = false;
      }
    },
  };
}

/** webtorrent accepts connections without bound. */
export function limitIncoming(client: WebTorrent, most: number): void {
  const server = client._connPool?.tcpServer;
  if (server !== undefined && server !== null) server.maxConnections = most;
}

/**
 * webtorrent chooses pieces over all wires after every block, about pieces squared per wire: our picker instead,
 * and the update once in a while (swarm.md: 60 % of the CPU).
 */
export function replacePicker(
  torrent: Torrent,
  picker: { readonly update: () => void; readonly pick: (wire: Wire) => void },
): void {
  torrent._update = picker.update;
  torrent._updateWire = picker.pick;
  torrent.once('metadata', () => {
    // It listens to every `have` and keeps what a hostile index leaves behind.
    torrent._rarityMap.destroy();
    torrent._rarityMap = { destroy: () => {} };
  });
}

/** Connection attempts pass one by one through `_drain`; without a token they wait. */
export function limitDialling(torrent: Torrent, tryTake: () => boolean, waitMs: number): void {
  const drain = torrent._drain.bind(torrent);
  let timer: NodeJS.Timeout | undefined;
  torrent._drain = () => {
    if (torrent.destroyed || torrent._queue.length === 0) return;
    if (tryTake()) return drain();
    timer ??= setTimeout(() => {
      timer = undefined;
      torrent._drain();
    }, waitMs).unref();
  };
}

/**
 * webtorrent dials addresses it is connected with (the other side dialled first), itself, and peers that were
 * thrown out; and it never tries plaintext where the encrypted handshake was not understood.
 */
export function guardDialling(
  client: WebTorrent,
  torrent: Torrent,
  refuses: (address: string) => boolean,
): void {
  const add = torrent._addPeer.bind(torrent);
  const plaintext = new Set<string>();
  torrent._addPeer = (address, type, source) => {
    if (typeof address !== 'string') return add(address, type, source);
    if (refuses(address)) return null;
    const { secure } = client;
    if (secure === 1 && plaintext.delete(address)) client.secure = 0;
    const triedEncrypted = client.secure === 1;
    const peer = add(address, type, source);
    client.secure = secure;
    peer?.once('disconnect', () => {
      if (triedEncrypted && peer._handshakeDone !== true) plaintext.add(address);
    });
    return peer;
  };
}

/** webtorrent's forced mode still lets in who dials in plaintext, and falls back where the other end does. */
export function isEncryptedEnough({ secure }: WebTorrent, wire: Wire): boolean {
  return secure !== FORCED || wire._encryptionMethod === RC4;
}

/** The address of our dialling: `host:port` of an outgoing connection. */
export function dialledAddress(torrent: Torrent, wire: Wire): string | undefined {
  if (wire.type !== 'tcpOutgoing') return undefined;
  for (const peer of torrent._peers?.values() ?? []) if (peer.wire === wire) return peer.addr ?? undefined;
  return undefined;
}

/**
 * ut_metadata would give the info dictionary to anybody who knows the info hash, and its parser can be made to
 * throw; lt_donthave stays. Before the extended handshake is sent.
 */
export function withdrawMetadataExtension(wire: Wire): void {
  for (const [id, name] of Object.entries(wire.extendedMapping)) {
    if (name === 'ut_metadata') delete wire.extendedMapping[id];
  }
  delete wire._ext['ut_metadata'];
}

/** A registry wire answers at once, so speed measured over seconds must not bound what is asked of it. */
export function trustRegistryWire(wire: Wire): void {
  wire.downloaded = 1;
  wire.downloadSpeed = () => Number.MAX_SAFE_INTEGER;
}

/**
 * Through the stream between both ends of a registry wire a piece would be copied twice more (its message is put
 * together anew); both ends are here, so the block is handed over as the message would have.
 */
export function handBlock(from: Wire, to: Wire, request: WireRequest, block: Uint8Array): void {
  const at = from.peerRequests.findIndex(
    ({ piece, offset }) => piece === request.piece && offset === request.offset,
  );
  if (at !== -1) from.peerRequests.splice(at, 1);
  to._onPiece(request.piece, request.offset, block);
}

/** A piece is put together in memory that is used again; webtorrent takes new memory, zeroed, for each. */
export function reusePieceBuffers(torrent: Torrent): void {
  const piece = torrent.pieces.find((each) => each !== null);
  if (piece === undefined) return;
  // On the prototype: a piece that failed is replaced by a new one.
  const prototype = Object.getPrototypeOf(piece) as Piece;
  prototype.flush = function (this: Piece) {
    if (this._buffer === null || this._buffered < this._chunks) return null;
    const bytes = takePieceBuffer(this.length);
    let at = 0;
    for (const block of this._buffer) {
      bytes.set(block, at);
      at += block.length;
    }
    this._buffer = null;
    this._cancellations = null;
    this.sources = null;
    this._flushed = true;
    return bytes;
  };
}

/** All its blocks are here, it has not been written. */
export function isWaitingForDisk(piece: Piece): boolean {
  return piece._flushed;
}

/** Blocks of the piece that nobody has been asked for. */
export function hasFreeBlocks(piece: Piece): boolean {
  return !piece._flushed && (piece._reservations < piece._chunks || (piece._cancellations?.length ?? 0) > 0);
}

export function isBegun(piece: Piece): boolean {
  return piece._reservations > 0;
}

export function requestBlock(torrent: Torrent, wire: Wire, index: number): boolean {
  return torrent._request(wire, index, false);
}

/** Bytes that a peer has been given and has not taken yet. */
export function unsentBytes(wire: Wire): number {
  return wire._readableState.buffered;
}

/** Called for every block that had been asked of this wire, before webtorrent sees it. */
export function watchBlocks(
  wire: Wire,
  onBlock: (index: number, offset: number, length: number, asked: boolean) => void,
): void {
  const onPiece = wire._onPiece.bind(wire);
  wire._onPiece = (index, offset, block) => {
    const asked = wire.requests.some(
      (request) => request.piece === index && request.offset === offset && request.length === block.length,
    );
    onBlock(index, offset, block.length, asked);
    onPiece(index, offset, block);
  };
}

/** A peer that has pieces which do not exist is thrown out; webtorrent would keep the index. */
export function boundHave(wire: Wire, pieceCount: number): void {
  const onHave = wire._onHave.bind(wire);
  wire._onHave = (index) => {
    if (index < 0 || index >= pieceCount) wire.destroy();
    else onHave(index);
  };
}

/** webtorrent tells of a bad piece in words only. */
export function failedPiece(warning: unknown): number | undefined {
  const match = warning instanceof Error ? /^Piece (\d+) failed verification$/.exec(warning.message) : null;
  return match === null ? undefined : Number(match[1]);
}
