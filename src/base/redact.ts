/** What stands where a secret stood. */
const HIDDEN = '[redacted]';

/** Values of queries that are shown; everything else may be signed, which is spelt differently at every vendor. */
const HARMLESS = new Set('ns wait n last scope service platform event port compact'.split(' '));

/**
 * Takes secrets out of any text that is shown or logged: userinfo and query values of URLs (announce tokens, signed
 * storage and web seed URLs), Authorization values, tokens and passwords in JSON and forms, and everything that looks
 * like a JSON Web Token. Names of query parameters stay, so that a reader sees which URL it was. Takes linear time.
 */
export function redact(text: string): string {
  return text
    .replace(/[^\s"'<>]+/g, (word) => (word.includes('://') ? redactUrl(word) : word))
    .replace(
      /\b(authorization["']?[ \t]{0,4}[:=][ \t]{0,4}["']?)((?:basic|bearer)[ \t]{1,4})?[^\s"',]+/gi,
      (_, name: string, scheme = '') => `${name}${scheme}${HIDDEN}`,
    )
    .replace(/\b(bearer|basic)([ \t]{1,4})[a-z0-9._~+/=-]{8,}/gi, `$1$2${HIDDEN}`)
    .replace(/((?:jwt|token|password|secret)"[ \t]{0,4}:[ \t]{0,4}")(?:[^"\\]|\\.)*/gi, `$1${HIDDEN}`)
    .replace(/(jwt|token|sig|signature|password|secret)=[^\s&"'<>]+/gi, `$1=${HIDDEN}`)
    .replace(/(?<![\w-])eyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?/g, HIDDEN);
}

/** A word with one URL or more in it. */
function redactUrl(word: string): string {
  const [scheme = '', ...rest] = word.split('://');
  const url = [scheme, ...rest.map(withoutUserinfo)].join('://');
  const at = url.indexOf('?');
  if (at < 0) return url;
  const query = url
    .slice(at + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 0) return pair === '' ? '' : HIDDEN;
      const name = pair.slice(0, equals);
      return HARMLESS.has(name) ? pair : `${name}=${HIDDEN}`;
    });
  return `${url.slice(0, at)}?${query.join('&')}`;
}

function withoutUserinfo(afterScheme: string): string {
  const end = afterScheme.search(/[/?#]/);
  const authority = end < 0 ? afterScheme : afterScheme.slice(0, end);
  const at = authority.lastIndexOf('@');
  return at < 0 ? afterScheme : `${HIDDEN}${afterScheme.slice(at)}`;
}
