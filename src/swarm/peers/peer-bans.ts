/** What is remembered of addresses and of banned peers: more than a swarm has. */
const MAX_REMEMBERED = 5000;
/** After so many liars from one host nobody is let in from there. Whom a tracker names there is still dialled. */
const MAX_LIARS_PER_HOST = 3;

/** Where a peer is reached (`host:port`), where that is known, and the host that it talks from. */
export interface PeerAddress {
  readonly address: string | undefined;
  readonly host: string;
}

/** Who answered where, and who is not wanted any more. Ids are the peers' own word, so their addresses count too. */
export class PeerBans {
  /** Only what was seen by dialling: what peers say of themselves could be about others. */
  readonly #answered = new Map<string, string>();
  readonly #bannedIds = new Set<string>();
  readonly #bannedAddresses = new Set<string>();
  readonly #liars = new Map<string, number>();

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
    this.#liars.set(host, (this.#liars.get(host) ?? 0) + 1);
  }

  isBanned(peerId: string): boolean {
    return this.#bannedIds.has(peerId);
  }

  isBannedAddress(address: string): boolean {
    return this.#bannedAddresses.has(address);
  }

  /** Nobody may come in from there. */
  isBannedHost(host: string): boolean {
    return (this.#liars.get(host) ?? 0) >= MAX_LIARS_PER_HOST;
  }
}
