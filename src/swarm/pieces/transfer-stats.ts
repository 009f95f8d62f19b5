/** Where verified bytes came from, and what was received in vain. Bytes. */
export class TransferStats {
  fromPeers = 0;
  fromRegistry = 0;
  fromStorage = 0;
  wasted = 0;
  uploaded = 0;
  /** Peer ids of those that bytes were given to. */
  readonly takers = new Set<string>();
  /** Blocks of peers, verified or not: what the rate is taken from. */
  receivedFromPeers = 0;

  /** Verified. */
  get bytes(): number {
    return this.fromPeers + this.fromRegistry + this.fromStorage;
  }

  verified(bytes: number, source: 'peers' | 'registry'): void {
    if (source === 'peers') this.fromPeers += bytes;
    else this.fromRegistry += bytes;
  }
}
