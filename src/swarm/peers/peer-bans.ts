/** What is remembered of addresses and of banned peers: more than a swarm has. */
const MAX_REMEMBERED = 5000;
/** After this many corrupt peers at one host, nobody is let in from there. Peers that a tracker names there are still dialled. */
const MAX_CORRUPT_PER_HOST = 3;

/** Where a peer is reached (`host:port`), where that is known, and the host that it talks from. */
export interface PeerAddress {
  readonly address: string | undefined;
  readonly host: string;
}

/** Which peer answered where, and which are banned. A peer chooses its id itself, so addresses are banned, too. */
export class PeerBans {
  /** Only what was seen by dialling: what peers say of themselves could be about others. */
  readonly #answered = new Map<string, string>();
  readonly #bannedIds = new Set<string>();
  readonly #bannedAddresses = new Set<string>();
  readonly #corrupt = new Map<string, number>();

  answered(address: string, peerId: string): void {
    if (this.#answered.size < MAX_REMEMBERED || this.#answered.has(address))
      this.#answered.set(address, peerId);
  }

  peerAt(address: string): string | undefined {
    return this.#answered.get(address);
  }

  ban(peerId: string, { address, host }: PeerAddress): void {
    if (this.#bannedIds.size >= MAX_REMEMBERED) return;
    this.#bannedIds.add(peerId);
    if (address !== undefined) this.#bannedAddresses.add(address);
    this.#corrupt.set(host, (this.#corrupt.get(host) ?? 0) + 1);
  }

  isBanned(peerId: string): boolean {
    return this.#bannedIds.has(peerId);
  }

  isBannedAddress(address: string): boolean {
    return this.#bannedAddresses.has(address);
  }

  /** Nobody may come in from there. */
  isBannedHost(host: string): boolean {
    return (this.#corrupt.get(host) ?? 0) >= MAX_CORRUPT_PER_HOST;
  }
}
