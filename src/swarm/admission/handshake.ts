import { createHmac, timingSafeEqual } from 'node:crypto';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import { PEER_PROTOCOL } from '../wire/peer-tls.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { keyThumbprint } from './node-key.ts';
import type { TorrentAdmission } from './torrent-admission.ts';

/** The label of keying material that only the two ends of one TLS connection share (RFC 5705; RFC 8446, section 7.5). */
const EXPORTER_LABEL = 'EXPORTER-quayctl-peer/1';
const PROOF_BYTES = 32;
/** As the torrent service reads them (src/serve/tokens/announce-tokens.ts). Bytes. */
const MAX_TOKEN = 4096;
/** The longest delay of a timer, milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The other side must not take part, or does not follow the protocol. Nothing is told to it. */
class NotAdmitted extends Error {}

/**
 * The exchange that comes first on a TLS connection between nodes (docs/protocol.md, "Peers"), on the side that dialled.
 * The answering side proves that it knows the torrent before it is shown the token. Ends the connection where the other side is
 * not to be admitted, and when its token ends.
 * @returns whether it is admitted
 */
export function admitDialled(wire: PeerWire, torrent: TorrentAdmission): Promise<boolean> {
  return settle(wire, async (frames) => {
    frames.send(Buffer.from(torrent.name, 'hex'));
    const proof = await frames.next(PROOF_BYTES);
    if (proof.length !== PROOF_BYTES || !timingSafeEqual(proof, proofOf(wire, torrent.infoHash)))
      throw new NotAdmitted();
    sendToken(frames, torrent);
    await receiveToken(frames, wire, torrent);
    return torrent;
  });
}

/**
 * The same on the side that was dialled, which shows its token only to a peer that may have it.
 * @param find the torrent of a name
 */
export function admitIncoming(
  wire: PeerWire,
  find: (name: string) => TorrentAdmission | undefined,
): Promise<boolean> {
  return settle(wire, async (frames) => {
    const torrent = find((await frames.next(PROOF_BYTES)).toString('hex'));
    if (torrent?.hasToken !== true) throw new NotAdmitted();
    frames.send(proofOf(wire, torrent.infoHash));
    await receiveToken(frames, wire, torrent);
    sendToken(frames, torrent);
    return torrent;
  });
}

async function settle(
  wire: PeerWire,
  exchange: (frames: Frames) => Promise<TorrentAdmission>,
): Promise<boolean> {
  const frames = new Frames(wire);
  try {
    if (wire.tls?.alpnProtocol !== PEER_PROTOCOL) throw new NotAdmitted();
    const { infoHash } = await exchange(frames);
    if (wire.destroyed) throw new NotAdmitted();
    wire.admit(infoHash);
    return true;
  } catch {
    // Not admitted, or the service's keys cannot be had: either way this peer is told nothing.
    wire.destroy();
    return false;
  }
}

function sendToken(frames: Frames, { jwt }: TorrentAdmission): void {
  if (jwt === undefined) throw new NotAdmitted();
  frames.send(Buffer.from(jwt));
}

async function receiveToken(frames: Frames, wire: PeerWire, torrent: TorrentAdmission): Promise<void> {
  const jwt = (await frames.next(MAX_TOKEN)).toString('latin1');
  const certificate = wire.tls?.getPeerX509Certificate();
  const thumbprint = certificate === undefined ? undefined : keyThumbprint(certificate.publicKey);
  const leftMs = thumbprint === undefined ? undefined : await torrent.check(jwt, thumbprint);
  if (leftMs === undefined) throw new NotAdmitted();
  const timer = setTimeout(() => wire.destroy(), Math.min(leftMs, LONGEST_TIMER_MS)).unref();
  wire.once('close', () => clearTimeout(timer));
}

/** Shows that an end of this very connection knows the info hash: a proof that is passed on fits no other connection. */
function proofOf({ tls }: PeerWire, infoHash: InfoHash): Buffer {
  const shared = tls?.exportKeyingMaterial(PROOF_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
  if (shared === undefined) throw new NotAdmitted();
  return createHmac('sha256', Buffer.from(infoHash, 'hex')).update(shared).digest();
}

/** Messages of the exchange: a length of two bytes, big-endian, then so many bytes. One at a time, never unasked for. */
class Frames {
  readonly #wire: PeerWire;
  #bytes = Buffer.alloc(0);
  #max = PROOF_BYTES;
  #waiting: PromiseWithResolvers<Buffer> | undefined;

  constructor(wire: PeerWire) {
    this.#wire = wire;
    wire.readOpening((chunk) => this.#read(chunk));
    wire.once('close', () => this.#waiting?.reject(new NotAdmitted()));
  }

  send(content: Uint8Array): void {
    const frame = Buffer.alloc(2 + content.length);
    frame.writeUInt16BE(content.length);
    frame.set(content, 2);
    this.#wire.push(frame);
  }

  /** @param max bytes @throws NotAdmitted when the connection ends, or the message is longer or empty */
  next(max: number): Promise<Buffer> {
    this.#max = max;
    this.#waiting = Promise.withResolvers();
    if (this.#wire.destroyed) this.#waiting.reject(new NotAdmitted());
    return this.#waiting.promise;
  }

  #read(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (this.#waiting === undefined || this.#bytes.length > 2 + MAX_TOKEN) return void this.#wire.destroy();
    if (this.#bytes.length < 2) return;
    const length = this.#bytes.readUInt16BE();
    if (length === 0 || length > this.#max) return this.#waiting.reject(new NotAdmitted());
    if (this.#bytes.length < 2 + length) return;
    // What comes before its turn comes from nobody who keeps to the protocol.
    if (this.#bytes.length > 2 + length) return void this.#wire.destroy();
    const content = this.#bytes.subarray(2);
    this.#bytes = Buffer.alloc(0);
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve(content);
  }
}
