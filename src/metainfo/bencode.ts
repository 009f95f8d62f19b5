import { QuayctlError } from '../base/errors.ts';

/**
 * BEP 3 bencoding, strict and bounded. The npm package `bencode` is not used on foreign bytes: there `l-3:` never
 * ends, deep lists end the stack, a string may be shorter than it says, and the place of `info` is lost.
 */
export type BValue = number | Uint8Array | readonly BValue[] | BDictionary;

/** Keys in their order; `start` and `end` are where it stands in the bytes. */
export interface BDictionary {
  readonly entries: ReadonlyMap<string, BValue>;
  readonly start: number;
  readonly end: number;
}

/** What can be encoded; texts as UTF-8. `raw` is bencoded already. */
export type BInput =
  number | string | Uint8Array | readonly BInput[] | { readonly [key: string]: BInput } | RawBencode;

export interface RawBencode {
  readonly raw: Uint8Array;
}

/** Nesting of a bencoded document. A torrent is a dictionary of dictionaries of lists of lists. */
const MAX_DEPTH = 16;
/** Values in a bencoded document. All piece hashes of a torrent are one string, so hundreds of trackers still fit. */
const MAX_VALUES = 10_000;
const MAX_KEY = 255;
/** 2^53 has 16 digits. */
const MAX_DIGITS = 16;

const [I, D, L, E, COLON, MINUS, ZERO] = [0x69, 0x64, 0x6c, 0x65, 0x3a, 0x2d, 0x30];

/**
 * Decodes one value that fills all of `bytes`. Byte strings are views, not copies. Only the canonical form is
 * accepted (keys sorted and different, no leading zeros): other readers encode `info` again for its hash, and all must
 * arrive at the same one.
 * @throws QuayctlError `protocol`, `limit`
 */
export function decodeBencode(bytes: Uint8Array): BValue {
  const decoder = new Decoder(bytes, true);
  const value = decoder.value(0);
  decoder.expectEnd();
  return value;
}

/**
 * Decodes the value at the start of `bytes` with the same bounds, in whatever form it was written: what trackers and
 * peers say is not hashed, and Chihaya writes the keys of its answers in random order. Of equal keys the last counts.
 * @throws QuayctlError `protocol`, `limit`
 */
export function decodeLooseBencode(bytes: Uint8Array): BValue {
  return new Decoder(bytes, false).value(0);
}

export function isDictionary(value: BValue | undefined): value is BDictionary {
  return typeof value === 'object' && 'entries' in value && value.entries instanceof Map;
}

/** Encodes with sorted keys. Numbers must be safe integers. */
export function encodeBencode(value: BInput): Uint8Array {
  const chunks: Uint8Array[] = [];
  encodeInto(chunks, value);
  return Buffer.concat(chunks);
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #canonical: boolean;
  #at = 0;
  #values = 0;

  constructor(bytes: Uint8Array, canonical: boolean) {
    this.#bytes = bytes;
    this.#canonical = canonical;
  }

  value(depth: number): BValue {
    if (depth > MAX_DEPTH)
      throw new QuayctlError('limit', `bencode: nested more than ${MAX_DEPTH} levels deep`);
    if (++this.#values > MAX_VALUES)
      throw new QuayctlError('limit', `bencode: more than ${MAX_VALUES} values`);
    switch (this.#bytes[this.#at]) {
      case I:
        return this.#integer();
      case L:
        return this.#list(depth);
      case D:
        return this.#dictionary(depth);
      default:
        return this.#string();
    }
  }

  expectEnd(): void {
    if (this.#at !== this.#bytes.length) throw this.#malformed('something follows the value');
  }

  #integer(): number {
    this.#at++;
    const negative = this.#bytes[this.#at] === MINUS;
    if (negative) this.#at++;
    const magnitude = this.#digits(E);
    if (this.#canonical && negative && magnitude === 0) throw this.#malformed('minus zero');
    return negative ? -magnitude : magnitude;
  }

  #list(depth: number): readonly BValue[] {
    this.#at++;
    const items: BValue[] = [];
    while (!this.#ended()) items.push(this.value(depth + 1));
    return items;
  }

  #dictionary(depth: number): BDictionary {
    const start = this.#at++;
    const entries = new Map<string, BValue>();
    let previous: string | undefined;
    while (!this.#ended()) {
      const key = this.#key();
      if (this.#canonical && previous !== undefined && key <= previous)
        throw this.#malformed('keys are not sorted');
      previous = key;
      entries.set(key, this.value(depth + 1));
    }
    return { entries, start, end: this.#at };
  }

  #key(): string {
    const key = this.#string();
    // Text for everybody: readers that decode keys as UTF-8 would not write other bytes back as they were.
    if (this.#canonical && (key.length > MAX_KEY || !key.every((byte) => byte >= 0x20 && byte < 0x7f))) {
      throw this.#malformed('a key that is not short ASCII text');
    }
    return Buffer.from(key).toString('latin1');
  }

  #string(): Uint8Array {
    const length = this.#digits(COLON);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw this.#malformed('a string that ends behind the document');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  /** Decimal digits up to and with `terminator`. */
  #digits(terminator: number): number {
    const start = this.#at;
    let value = 0;
    for (; ; this.#at++) {
      const byte = this.#bytes[this.#at];
      if (byte === terminator && this.#at > start) break;
      if (byte === undefined || byte < ZERO || byte > ZERO + 9)
        throw this.#malformed('not what may stand here');
      if (this.#at - start >= MAX_DIGITS) throw this.#malformed('a number that is too large');
      value = value * 10 + (byte - ZERO);
    }
    if (this.#canonical && this.#at - start > 1 && this.#bytes[start] === ZERO)
      throw this.#malformed('a number with a leading zero');
    if (!Number.isSafeInteger(value)) throw this.#malformed('a number that is too large');
    this.#at++;
    return value;
  }

  #ended(): boolean {
    if (this.#bytes[this.#at] !== E) return false;
    this.#at++;
    return true;
  }

  #malformed(reason: string): QuayctlError {
    return new QuayctlError('protocol', `not bencode: ${reason} at byte ${this.#at}`);
  }
}

function encodeInto(chunks: Uint8Array[], value: BInput): void {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value))
      throw new QuayctlError('internal', `bencode: ${value} is not a safe integer`);
    chunks.push(Buffer.from(`i${value}e`));
  } else if (typeof value === 'string') encodeInto(chunks, Buffer.from(value));
  else if (value instanceof Uint8Array) chunks.push(Buffer.from(`${value.length}:`), value);
  else if (isList(value)) {
    chunks.push(Buffer.from('l'));
    for (const item of value) encodeInto(chunks, item);
    chunks.push(Buffer.from('e'));
  } else if (isRaw(value)) chunks.push(value.raw);
  else encodeDictionary(chunks, value);
}

function encodeDictionary(chunks: Uint8Array[], dictionary: { readonly [key: string]: BInput }): void {
  chunks.push(Buffer.from('d'));
  // Our keys are ASCII, where the order of characters is the order of bytes that BEP 3 asks for.
  for (const key of Object.keys(dictionary).sort()) {
    encodeInto(chunks, key);
    encodeInto(chunks, dictionary[key] as BInput);
  }
  chunks.push(Buffer.from('e'));
}

function isList(value: BInput): value is readonly BInput[] {
  return Array.isArray(value);
}

function isRaw(value: { readonly [key: string]: BInput } | RawBencode): value is RawBencode {
  return 'raw' in value;
}
