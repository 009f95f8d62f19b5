import { QuayctlError } from '../base/errors.ts';

/** Nesting of a JSON document. No manifest, index or config is as deep. */
const MAX_DEPTH = 64;
/**
 * Values in a JSON document: enough for the index.json of 50,000 images. Each takes about 60 bytes of memory once
 * parsed.
 */
const MAX_VALUES = 1_000_000;

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * A JSON object from foreign bytes.
 * @param what names the document in errors, e.g. `manifest`
 * @throws QuayctlError `limit` over `maxBytes`, nested too deeply or of too many values, `protocol` for anything that is no JSON object
 */
export function parseJsonObject(bytes: Uint8Array, what: string, maxBytes: number): JsonObject {
  if (bytes.length > maxBytes) {
    throw new QuayctlError('limit', `${what}: ${bytes.length} bytes, more than ${maxBytes} are not read`);
  }
  const { depth, values } = measure(bytes);
  if (depth > MAX_DEPTH)
    throw new QuayctlError('limit', `${what}: nested more than ${MAX_DEPTH} levels deep`);
  if (values > MAX_VALUES) throw new QuayctlError('limit', `${what}: more than ${MAX_VALUES} values`);
  return object(parse(bytes, what), what);
}

/** @throws QuayctlError `protocol` where `value` is no object */
export function object(value: unknown, what: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new QuayctlError('protocol', `${what}: not an object`);
}

/**
 * A list; one that is missing or `null` is empty, as Go writes and reads a nil slice.
 * @throws QuayctlError `protocol` where `value` is no list, `limit` where it has more than `max` items
 */
export function list(value: unknown, what: string, max: number): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new QuayctlError('protocol', `${what}: not a list`);
  if (value.length > max) throw new QuayctlError('limit', `${what}: ${value.length} items, more than ${max}`);
  return value;
}

/**
 * Text that may be shown on a terminal.
 * @throws QuayctlError `protocol` where `value` is no text of 1 to `max` characters, or has control characters
 */
export function text(value: unknown, what: string, max: number): string {
  if (typeof value === 'string' && value !== '' && value.length <= max && !/\p{Cc}/u.test(value)) {
    return value;
  }
  throw new QuayctlError('protocol', `${what}: not a text of 1 to ${max} characters`);
}

/**
 * The field of a name, in whatever case it was written: Go reads all of them, and some builders write `OS`. The exact name
 * goes first.
 */
export function fieldOf(json: JsonObject, name: string): unknown {
  if (Object.hasOwn(json, name)) return json[name];
  const key = Object.keys(json).find((each) => each.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : json[key];
}

/** Text that may be absent, null or empty; all three are undefined. */
export function optionalText(value: unknown, what: string, max: number): string | undefined {
  return value === undefined || value === null || value === '' ? undefined : text(value, what, max);
}

function parse(bytes: Uint8Array, what: string): unknown {
  try {
    // Bytes that are no UTF-8 become U+FFFD, as in Go: a digest has been compared with the bytes themselves.
    return JSON.parse(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the document; it may be long, or anything.
    throw new QuayctlError('protocol', `${what}: not JSON`);
  }
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [BRACE, BRACE_END, BRACKET, BRACKET_END] = [0x7b, 0x7d, 0x5b, 0x5d];

/** How deep it nests and about how many values it has, before memory is spent on it; exact enough for a bound. */
function measure(bytes: Uint8Array): { readonly depth: number; readonly values: number } {
  let [level, depth, values] = [0, 0, 1];
  let quoted = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (quoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    else if (byte === COMMA) values++;
    else if (byte === BRACE || byte === BRACKET) {
      values++;
      depth = Math.max(depth, ++level);
    } else if (byte === BRACE_END || byte === BRACKET_END) level--;
  }
  return { depth, values };
}
