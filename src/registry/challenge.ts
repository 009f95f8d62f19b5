/** One way in which a server wants to be asked again (RFC 9110 section 11.6.1). */
export interface Challenge {
  /** Lower-case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case; of a name that stands twice, the first. */
  readonly params: ReadonlyMap<string, string>;
}

/** Characters of a field that are read; real ones have some hundred. */
const MAX_LENGTH = 8192;
const MAX_CHALLENGES = 16;
/** Of one challenge; Digest has ten. */
const MAX_PARAMETERS = 32;

/** Schemes that count without parameters, and without a comma before them. Any other word there is a blemish. */
const KNOWN_SCHEMES = new Set(['basic', 'bearer', 'digest', 'kerberos', 'negotiate', 'ntlm']);

/** Schemes that never have a token68. */
const WITH_PARAMETERS = new Set(['basic', 'bearer', 'digest']);

// RFC 9110 section 5.6.2, 5.6.4, 11.2; sticky, so that a text is walked once.
const SEPARATORS = /[ \t,;]*/y;
const SCHEME = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?=[ \t,;]|$)/y;
/** `=` at its end only, and nothing but the list's end or comma behind it: else it is a parameter. */
const TOKEN68 = /[ \t]+[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;
const PARAMETER_NAME = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*/y;
/** Up to its end quote, else to the end. */
const QUOTED = /"((?:[^"\\]|\\.)*)(?:"|\\?$)/y;
/** More than the token of the grammar: servers leave quotes out around URLs, scopes and `host:port`, too. */
const UNQUOTED = /[^\s,;"]*/y;
/** A word that is neither scheme nor parameter, or one character that starts nothing. */
const BLEMISH = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+|./sy;

/**
 * The challenges of a WWW-Authenticate field:
 *
 *     challenge   = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
 *     auth-param  = token BWS "=" BWS ( token / quoted-string )
 *
 * in a list whose commas also separate the parameters. What is not of this grammar costs only itself: everything that can
 * be read before and after it counts, as it does for docker, podman, skopeo and crane. Never throws.
 * @param field one field; a mistake in it does not reach the next
 */
export function parseChallenges(field: string): readonly Challenge[] {
  const scanner = new Scanner(field.slice(0, MAX_LENGTH));
  const challenges: (Challenge & { readonly params: Map<string, string> })[] = [];
  while (!scanner.atEnd) {
    const isFirst = scanner.at === 0;
    const isSeparated = /[,;]/.test(scanner.take(SEPARATORS)?.[0] ?? '') || isFirst;
    const scheme = takeScheme(scanner, isSeparated);
    if (scheme !== undefined) {
      if (challenges.length === MAX_CHALLENGES) break;
      challenges.push({ scheme, params: new Map() });
      continue;
    }
    const name = scanner.take(PARAMETER_NAME)?.[1]?.toLowerCase();
    if (name === undefined) {
      // At the end there is nothing left to take.
      scanner.take(BLEMISH);
      continue;
    }
    const quoted = scanner.take(QUOTED)?.[1]?.replace(/\\(.)/g, '$1');
    const value = quoted ?? scanner.take(UNQUOTED)?.[0] ?? '';
    const params = challenges.at(-1)?.params;
    if (params !== undefined && params.size < MAX_PARAMETERS && !params.has(name)) params.set(name, value);
  }
  return challenges;
}

/** @param isSeparated whether a comma stands before it, as it must between challenges */
function takeScheme(scanner: Scanner, isSeparated: boolean): string | undefined {
  const before = scanner.at;
  const scheme = scanner.take(SCHEME)?.[1]?.toLowerCase();
  if (scheme === undefined) return undefined;
  const isKnown = KNOWN_SCHEMES.has(scheme);
  if (isKnown || isSeparated) {
    // `Negotiate a874==`, but `Bearer service=,realm="r"`.
    const hasToken68 = !WITH_PARAMETERS.has(scheme) && scanner.take(TOKEN68) !== undefined;
    if (hasToken68 || isKnown || scanner.sees(/[ \t]+[^\s,;="]+[ \t]*=/y)) return scheme;
  }
  scanner.at = before;
  // `realm = "x"` begins like a scheme.
  if (scanner.sees(PARAMETER_NAME)) return undefined;
  scanner.take(BLEMISH);
  return undefined;
}

class Scanner {
  readonly #text: string;
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.at >= this.#text.length;
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.at = pattern.lastIndex;
    return match;
  }

  sees(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    return pattern.test(this.#text);
  }
}
