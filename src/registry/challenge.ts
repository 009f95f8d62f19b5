/** One way in which a server wants to be asked again (RFC 9110 section 11.6.1). */
export interface Challenge {
  /** Lower-case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case; of a name that stands twice, the first. */
  readonly params: ReadonlyMap<string, string>;
}

/** Real ones have some hundred characters. */
const MAX_LENGTH = 8192;
/** Negotiate, NTLM, Digest, Basic, Bearer. */
const MAX_CHALLENGES = 16;
/** Digest has ten. */
const MAX_PARAMETERS = 32;

// RFC 9110 section 5.6.2, 5.6.4, 11.2; sticky, so that a text is walked once.
const SEPARATORS = /[ \t,]*/y;
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const SPACES = /[ \t]*/y;
/** `=` at its end only, and nothing but the list's end or comma behind it: else it is a parameter. */
const TOKEN68 = /[ \t]+[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;
const PARAMETER_NAME = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/**
 * The challenges of a WWW-Authenticate field:
 *
 *     challenge   = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
 *     auth-param  = token BWS "=" BWS ( token / quoted-string )
 *
 * in a list whose commas also part the parameters. Reading stops at what is not of this grammar; what stands before
 * it counts. Never throws.
 * @param field one field, or several joined by commas
 */
export function parseChallenges(field: string): readonly Challenge[] {
  const scanner = new Scanner(field.slice(0, MAX_LENGTH));
  const challenges: Challenge[] = [];
  while (challenges.length < MAX_CHALLENGES) {
    scanner.take(SEPARATORS);
    const scheme = scanner.take(TOKEN)?.[0];
    if (scheme === undefined) break;
    const params = scanner.take(TOKEN68) === undefined ? readParameters(scanner) : new Map<string, string>();
    if (params === undefined) break;
    challenges.push({ scheme: scheme.toLowerCase(), params });
  }
  return challenges;
}

/** Up to the next challenge; undefined for a parameter without a value. */
function readParameters(scanner: Scanner): Map<string, string> | undefined {
  const parameters = new Map<string, string>();
  for (let count = 0; count <= MAX_PARAMETERS; count++) {
    const before = scanner.at;
    scanner.take(SEPARATORS);
    const name = scanner.take(PARAMETER_NAME)?.[1]?.toLowerCase();
    if (name === undefined) {
      scanner.at = before;
      return parameters;
    }
    const value = scanner.take(QUOTED)?.[1]?.replace(/\\(.)/g, '$1') ?? scanner.take(TOKEN)?.[0];
    if (value === undefined) return undefined;
    if (!parameters.has(name)) parameters.set(name, value);
    scanner.take(SPACES);
    if (!scanner.atSeparator()) return undefined;
  }
  return undefined;
}

class Scanner {
  readonly #text: string;
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.at = pattern.lastIndex;
    return match;
  }

  /** A comma, or the end. */
  atSeparator(): boolean {
    return this.at >= this.#text.length || this.#text[this.at] === ',';
  }
}
