/**
 * The permission to announce one torrent: a JSON Web Token that the torrent service signed (docs/protocol.md,
 * "Announce tokens"). It is a secret, so neither `String()`, `JSON.stringify` nor `util.inspect` shows it.
 */
export class AnnounceToken {
  readonly #jwt: string;
  /** When it came, milliseconds on the clock of performance.now. */
  readonly receivedAt = performance.now();
  /** `exp - iat` (RFC 7519), milliseconds; undefined for a token that does not expire, or cannot be read. */
  readonly lifetimeMs: number | undefined;

  constructor(jwt: string) {
    this.#jwt = jwt;
    this.lifetimeMs = lifetimeOf(jwt);
  }

  /** The token itself, for showing it to a peer. Secret. */
  get jwt(): string {
    return this.#jwt;
  }

  equals(other: AnnounceToken | undefined): boolean {
    return other !== undefined && other.#jwt === this.#jwt;
  }

  toString(): string {
    return '[announce token]';
  }
}

/**
 * One tracker of a torrent. Its announce URL holds an announce token, or the passkey of somebody else's tracker, and is
 * shown by nothing but `announceUrl`.
 */
export class TrackerAddress {
  /** Which tracker this is: the URL without query and fragment. The same before and after its token is renewed. */
  readonly key: string;
  readonly token: AnnounceToken | undefined;
  /** The torrent that names it came from another machine: this tracker must not be on ours. */
  readonly denyLocal: boolean;
  readonly #announceUrl: string;

  /** @param announceUrl as it stands in `announce` of a .torrent (BEP 3); the token is its query parameter `jwt` */
  constructor(announceUrl: string, denyLocal = false) {
    this.denyLocal = denyLocal;
    this.#announceUrl = announceUrl;
    this.key = announceUrl.split(/[?#]/, 1)[0] ?? announceUrl;
    const jwt = URL.parse(announceUrl)?.searchParams.get('jwt') ?? '';
    this.token = jwt === '' ? undefined : new AnnounceToken(jwt);
  }

  /** The whole URL, for the request itself. Secret. */
  get announceUrl(): string {
    return this.#announceUrl;
  }

  /** For people: scheme, host and path. */
  get name(): string {
    const url = URL.parse(this.key);
    return url === null ? 'a tracker' : `${url.protocol}//${url.host}${url.pathname}`;
  }

  /** The same tracker without token, passkey and password, for keeping on disk. */
  withoutSecrets(): TrackerAddress {
    const url = new URL(this.key);
    url.username = '';
    url.password = '';
    return new TrackerAddress(url.href, this.denyLocal);
  }

  toString(): string {
    return this.name;
  }
}

function lifetimeOf(jwt: string): number | undefined {
  const [, payload = ''] = jwt.split('.');
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null) return undefined;
    const { exp, iat } = claims as Record<string, unknown>;
    const lifetimeMs = typeof exp === 'number' && typeof iat === 'number' ? (exp - iat) * 1000 : 0;
    return lifetimeMs > 0 ? lifetimeMs : undefined;
  } catch {
    return undefined;
  }
}
