/** What stands where a secret stood. */
const HIDDEN = '[redacted]';

/**
 * Takes secrets out of any text that is shown or logged: userinfo and query values of URLs (announce tokens, signed
 * storage and web seed URLs), Authorization values, and everything that looks like a JSON Web Token.
 * Names of query parameters stay, so that a reader sees which URL it was.
 */
export function redact(text: string): string {
  return text
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@"'<>]+(?::[^\s/?#@"'<>]*)?@/gi, `$1${HIDDEN}@`)
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]+\?[^\s"'<>]*/gi, redactQuery)
    .replace(/\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}/gi, `$1 ${HIDDEN}`)
    .replace(/\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?/g, HIDDEN)
    .replace(/\b(jwt|token|sig|signature|password|secret)=[^\s&"'<>]+/gi, `$1=${HIDDEN}`);
}

/** Everything that is not known to be harmless: signed URLs have a different spelling at every vendor. */
const HARMLESS = new Set([
  'ns',
  'wait',
  'n',
  'last',
  'scope',
  'service',
  'platform',
  'event',
  'port',
  'compact',
]);

function redactQuery(url: string): string {
  const at = url.indexOf('?');
  const query = url
    .slice(at + 1)
    .split('&')
    .map((pair) => {
      const [name = ''] = pair.split('=', 1);
      return HARMLESS.has(name) || !pair.includes('=') ? pair : `${name}=${HIDDEN}`;
    })
    .join('&');
  return `${url.slice(0, at)}?${query}`;
}
