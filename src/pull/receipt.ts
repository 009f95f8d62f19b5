import type { PeerUse } from '../blobs/peer-use.ts';
import { NOTHING, type BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Digest } from '../image/digest.ts';
import { digestHex } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';

interface LayerReceipt extends Omit<BlobOutcome, 'wasted' | 'peers' | 'meeting'> {
  readonly digest: Digest;
  readonly size: number;
}

/** The JSON object of `--json`; the last line on stderr is made of it, too. */
export interface Receipt {
  readonly image: string;
  /** Of the platform's manifest. */
  readonly digest: Digest;
  readonly index?: Digest;
  /**
   * The service whose digest the bytes were checked against, where it was not the registry's manifest: a squashed
   * image.
   */
  readonly vouchedBy?: 'service';
  /** `none` for a pull into the store alone. */
  readonly engine: string;
  readonly layers: readonly LayerReceipt[];
  /** Whether bytes came from peers, and if not, why. */
  readonly p2p: PeerUse;
  readonly total: {
    readonly size: number;
    readonly fromPeers: number;
    readonly fromRegistry: number;
    readonly fromStore: number;
    readonly alreadyInEngine: number;
    readonly wasted: number;
    readonly peers: number;
    readonly uploaded: number;
    readonly seconds: number;
  };
}

/**
 * One row for each layer of the manifest, in its order. A layer that stands in it twice was fetched once: its
 * later rows came out of the store (or the engine).
 */
export function makeReceipt(of: {
  readonly image: string;
  readonly digest: Digest;
  readonly index?: Digest | undefined;
  readonly vouchedBy?: 'service' | undefined;
  readonly engine: string;
  readonly layers: readonly Descriptor[];
  readonly outcomes: ReadonlyMap<Digest, BlobOutcome>;
  readonly p2p: PeerUse;
  readonly uploaded: number;
  readonly seconds: number;
}): Receipt {
  const seen = new Set<string>();
  const layers = of.layers.map(({ digest, size }): LayerReceipt => {
    const outcome = of.outcomes.get(digest) ?? NOTHING;
    const again = seen.has(digestHex(digest));
    seen.add(digestHex(digest));
    if (again && outcome.alreadyInEngine === 0) {
      return { digest, size, ...sources(NOTHING), fromStore: size, seconds: 0 };
    }
    return { digest, size, ...sources(outcome), seconds: round(outcome.seconds) };
  });
  const sum = (pick: (layer: LayerReceipt) => number): number =>
    layers.reduce((total, layer) => total + pick(layer), 0);
  const outcomes = [...of.outcomes.values()];
  return {
    image: of.image,
    digest: of.digest,
    ...(of.index === undefined ? {} : { index: of.index }),
    ...(of.vouchedBy === undefined ? {} : { vouchedBy: of.vouchedBy }),
    engine: of.engine,
    layers,
    p2p: of.p2p,
    total: {
      size: sum((layer) => layer.size),
      fromPeers: sum((layer) => layer.fromPeers),
      fromRegistry: sum((layer) => layer.fromRegistry),
      fromStore: sum((layer) => layer.fromStore),
      alreadyInEngine: sum((layer) => layer.alreadyInEngine),
      wasted: outcomes.reduce((total, { wasted }) => total + wasted, 0),
      peers: outcomes.reduce((most, { peers }) => Math.max(most, peers), 0),
      uploaded: of.uploaded,
      seconds: round(of.seconds),
    },
  };
}

function sources(outcome: BlobOutcome): Omit<LayerReceipt, 'digest' | 'size' | 'seconds'> {
  const { fromPeers, fromRegistry, fromStore, alreadyInEngine } = outcome;
  return { fromPeers, fromRegistry, fromStore, alreadyInEngine };
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
