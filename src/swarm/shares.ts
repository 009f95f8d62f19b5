import type { PeerWire } from './peer-wire.ts';
import type { PieceGeometry } from '../metainfo/metainfo.ts';
import type { Availability } from './availability.ts';
import { useClaims, type ClaimsLink } from './claims-extension.ts';
import { ClaimBook, type ClaimMessage } from './claims.ts';
import type { RegistrySeed } from './registry-seed.ts';
import { rendezvousOrder } from './rendezvous.ts';
import { claimLifetime, decideShares } from './share-policy.ts';

/** Between a claim and its request: two claims of one moment meet before bytes are asked for. Milliseconds. */
const SETTLE_MS = 30;
/** Peers that the tracker named are waited for, with few pieces open, for so long. */
const EXPECT_MS = 3000;
/** Weight of the newest half second in a rate. */
const RATE_WEIGHT = 0.4;

export interface SharesOptions {
  readonly selfId: string;
  readonly geometry: PieceGeometry;
  readonly availability: Availability;
  readonly has: (index: number) => boolean;
  readonly peerIdOf: (wire: PeerWire) => string;
  readonly registry: RegistrySeed | undefined;
}

/** Carries out the SharePolicy: hears claims, decides, opens pieces at the registry, tells the others. */
export class Shares {
  readonly #options: SharesOptions;
  readonly #book = new ClaimBook();
  readonly #links = new Map<PeerWire, ClaimsLink>();
  readonly #order: readonly number[];
  #settled = false;
  #peerRate = 0;
  #registryRate: number | undefined;
  #receivedBefore = 0;
  #registrySpeed = 0;
  #expectingUntil = -Infinity;
  #backlogSince: number | undefined;

  constructor(options: SharesOptions) {
    this.#options = options;
    this.#order = rendezvousOrder(options.geometry.pieceCount, options.selfId);
  }

  /** What the registry brings now, bytes per second. */
  get registrySpeed(): number {
    return this.#options.registry?.lost === undefined ? this.#registrySpeed : 0;
  }

  /** The tracker named nobody, or has had its time. */
  settle(): void {
    this.#settled = true;
    this.decide();
  }

  /** The tracker named peers. */
  expect(): void {
    this.#expectingUntil = performance.now() + EXPECT_MS;
  }

  joined(wire: PeerWire): void {
    const { geometry, peerIdOf, registry } = this.#options;
    const link = useClaims(wire, geometry.pieceCount, {
      onReady: () => {
        // No longer alone: first let go of what was too much, then tell of the rest.
        this.decide();
        const open = [...(registry?.open ?? [])];
        const which = (requested: boolean): number[] =>
          open.filter(([, piece]) => piece.requested === requested).map(([index]) => index);
        link.send({ kind: 'fetching', pieces: which(true) });
        link.send({ kind: 'claim', pieces: which(false) });
      },
      onMessage: (message) => {
        this.#book.hear(peerIdOf(wire), message, performance.now(), claimLifetime(registry?.pieceMs));
        this.decide();
      },
    });
    this.#links.set(wire, link);
  }

  left(wire: PeerWire, gone: string | undefined): void {
    this.#links.delete(wire);
    if (gone !== undefined) this.#book.forget(gone);
  }

  hasPiece(wire: PeerWire, index: number): void {
    this.#book.fulfilled(this.#options.peerIdOf(wire), index);
  }

  /** Pieces came back from the registry without their bytes. */
  closed(pieces: readonly number[]): void {
    if (pieces.length > 0) this.#tell({ kind: 'drop', pieces });
  }

  /** @param peerBytes received from peers since the last call; @param seconds since then */
  tick(peerBytes: number, seconds: number): void {
    const { registry } = this.#options;
    const now = performance.now();
    this.#book.expire(now);
    if (!this.#hasBacklog()) this.#backlogSince = undefined;
    else this.#backlogSince ??= now;
    this.#peerRate += RATE_WEIGHT * (peerBytes / seconds - this.#peerRate);
    if (registry === undefined) return;
    const bytes = registry.received - this.#receivedBefore;
    this.#receivedBefore = registry.received;
    this.#registrySpeed += RATE_WEIGHT * (bytes / seconds - this.#registrySpeed);
    if (bytes === 0) return;
    this.#registryRate ??= bytes / seconds;
    this.#registryRate += RATE_WEIGHT * (bytes / seconds - this.#registryRate);
  }

  decide(): void {
    const { registry, geometry, availability, has, selfId } = this.#options;
    if (registry === undefined || registry.lost !== undefined) return;
    const peers = availability.wires.size;
    const now = performance.now();
    const { open, release } = decideShares({
      selfId,
      now,
      pieceLength: geometry.pieceLength,
      pieceCount: geometry.pieceCount,
      order: this.#order,
      has,
      open: registry.open,
      held: (index) => availability.of(index) > 0,
      claimers: (index, at) => this.#book.claimers(index, at),
      resting: (index) => registry.isResting(index),
      peers,
      expecting: now < this.#expectingUntil,
      backlogMs: this.#backlogSince === undefined ? 0 : now - this.#backlogSince,
      // Peers that came first are as good as the tracker's word.
      settled: this.#settled || peers > 0,
      peerRate: this.#peerRate,
      registryRate: this.#registryRate,
      pieceMs: registry.pieceMs,
    });
    if (release.length > 0) {
      registry.release(release);
      if (peers > 0) this.#tell({ kind: 'drop', pieces: release });
    }
    if (open.length === 0) return;
    registry.fetch(open, peers > 0 || now < this.#expectingUntil ? SETTLE_MS : 0);
    this.#tell({ kind: 'claim', pieces: open });
  }

  #hasBacklog(): boolean {
    const { availability, has } = this.#options;
    return this.#order.some((index) => !has(index) && availability.of(index) > 0);
  }

  #tell(message: ClaimMessage): void {
    for (const link of this.#links.values()) link.send(message);
  }
}
