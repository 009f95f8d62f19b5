import { addressGroup } from '../../base/address-group.ts';

/**
 * Until somebody at a site has answered as a BitTorrent peer, so many connections to it are attempted at once. A tracker
 * can be made to name a third party at thousands of ports; nobody there would ever answer.
 */
const MAX_AT_ONCE_UNPROVEN = 3;
/** Attempts at a site where no peer ever answered, after which it is left alone for a while, longer each time. */
const MAX_FAILURES = 3;
/** The first of these pauses. */
const FIRST_PAUSE_MS = 15_000;
const LONGEST_PAUSE_MS = 10 * 60_000;
/** Sites that are remembered; the oldest go first. */
const MAX_SITES = 5000;

interface Site {
  /** Somebody there has answered with a handshake. */
  proven: boolean;
  attempts: number;
  failures: number;
  pauses: number;
  pausedUntil: number;
}

/**
 * How often this process dials one site (an IPv4 address, or an IPv6 /64), over all torrents and ports. Time is given,
 * milliseconds; no I/O.
 */
export class DialLimits {
  readonly #sites = new Map<string, Site>();

  /** Whether a connection to this host may be attempted now. */
  mayBegin(host: string, now: number): boolean {
    const { proven, attempts, pausedUntil } = this.#siteOf(host);
    return proven || (attempts < MAX_AT_ONCE_UNPROVEN && now >= pausedUntil);
  }

  /** An attempt begins; it counts until `ended`. */
  begin(host: string): void {
    this.#siteOf(host).attempts++;
  }

  /** A peer at this host has shown that it is one, by dialling this node or by answering it. */
  answered(host: string): void {
    const site = this.#siteOf(host);
    site.proven = true;
    site.failures = 0;
    site.pauses = 0;
  }

  /** The attempt is over and another follows at once, in another protocol: it counts neither way. */
  undecided(host: string): void {
    const site = this.#siteOf(host);
    site.attempts = Math.max(0, site.attempts - 1);
  }

  /** The attempt is over. @param answered with a handshake of the wire protocol, whatever came after it */
  ended(host: string, answered: boolean, now: number): void {
    const site = this.#siteOf(host);
    site.attempts = Math.max(0, site.attempts - 1);
    if (answered) this.answered(host);
    else if (!site.proven && ++site.failures >= MAX_FAILURES) {
      site.pausedUntil = now + Math.min(FIRST_PAUSE_MS * 2 ** site.pauses, LONGEST_PAUSE_MS);
      site.pauses++;
      site.failures = 0;
    }
  }

  #siteOf(host: string): Site {
    const name = addressGroup(host.replace(/^\[(.*)\]$/, '$1'));
    const known = this.#sites.get(name);
    if (known !== undefined) return known;
    const site = { proven: false, attempts: 0, failures: 0, pauses: 0, pausedUntil: -Infinity };
    const [oldest] = this.#sites;
    if (this.#sites.size >= MAX_SITES && oldest !== undefined) this.#sites.delete(oldest[0]);
    this.#sites.set(name, site);
    return site;
  }
}
