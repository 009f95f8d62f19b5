/** Remembered of one group: more than a node connects to. */
const MAX_ADDRESSES = 200;

/**
 * Addresses of peers with which this process was connected, by group of torrents: the blobs of one repository. Who has
 * one layer of an image most likely has the next, so when the tracker is gone, a layer that is begun then still finds
 * its peers. Peers of other groups are never asked: they would learn the info hash of a blob that they may not read.
 */
export class RelatedPeers {
  readonly #groups = new WeakMap<object, Set<string>>();

  /** @param address `host:port` where the peer accepts connections */
  add(group: object, address: string): void {
    let addresses = this.#groups.get(group);
    if (addresses === undefined) this.#groups.set(group, (addresses = new Set()));
    // The newest stay: they are the likeliest to be there still.
    addresses.delete(address);
    addresses.add(address);
    const [oldest] = addresses;
    if (addresses.size > MAX_ADDRESSES && oldest !== undefined) addresses.delete(oldest);
  }

  of(group: object): readonly string[] {
    return [...(this.#groups.get(group) ?? [])];
  }
}
