import { QuayctlError } from '../base/errors.ts';
import { codingOf } from '../http/content-encoding.ts';
import { headerOf, type HttpAnswer } from '../http/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';

/** Where in an answer's body the bytes are that were asked for. */
export interface BlobBody {
  readonly kind: 'body';
  readonly answer: HttpAnswer;
  /** A Content-Encoding that has to be undone first. */
  readonly coding: string | undefined;
  /** Bytes before those that were asked for: a server may ignore Range. */
  readonly skip: number;
  /** Bytes that are to come; fewer than asked for where the server cuts ranges short (RFC 9110 section 15.3.7). */
  readonly length: number;
  /** More of the blob follows that is not wanted. */
  readonly goesOn: boolean;
}

/** The server cannot give this range; it may give the whole blob. */
export interface NoRange {
  readonly kind: 'no-range';
}

/** Bytes `start` to `end` (exclusive) of a blob. */
export interface BlobRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads the headers of an answer to a request for a range, or for the whole blob. What they say of the blob's size must
 * be what its manifest says. A Content-Encoding is believed only where the length says the same: blobs that are kept
 * compressed are often labelled so (Apache: `x-gzip`, S3: `aws-chunked`), and their digest is of the bytes as they are.
 * @throws QuayctlError `verification` for another size, `protocol` for another answer than was asked for
 */
export function bodyOf(answer: HttpAnswer, blob: Descriptor, range: BlobRange, url: URL): BlobBody | NoRange {
  switch (answer.statusCode) {
    case 206:
      return partOf(answer, blob, range, url);
    case 200:
      return wholeOf(answer, blob, range);
    case 416:
      return refusedRange(answer, blob);
    default:
      throw new QuayctlError(
        'protocol',
        `${url.host} answers ${answer.statusCode} for ${shortDigest(blob.digest)}`,
      );
  }
}

/** Some storage answers 416 to every range; one that names another size (`bytes *` + `/1234`) holds another blob. */
function refusedRange(answer: HttpAnswer, blob: Descriptor): NoRange {
  const [, total] = /^bytes \*\/(\d{1,16})$/.exec((headerOf(answer, 'content-range') ?? '').trim()) ?? [];
  const isEncoded = codingOf(headerOf(answer, 'content-encoding')) !== undefined;
  // 0 is what servers say that know no ranges.
  const isOther = total !== undefined && ![0, blob.size].includes(Number(total));
  if (isOther && !isEncoded) throw wrongSize(blob, total);
  return { kind: 'no-range' };
}

function partOf(
  answer: HttpAnswer,
  blob: Descriptor,
  { start, end }: BlobRange,
  url: URL,
): BlobBody | NoRange {
  const field = headerOf(answer, 'content-range') ?? '';
  const [, first, last, total] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(field.trim()) ?? [];
  const isSized = total !== undefined && total !== '*';
  if (isSized && Number(total) !== blob.size) {
    // Ranges of encoded content count encoded bytes (RFC 9110 section 14.2).
    if (codingOf(headerOf(answer, 'content-encoding')) !== undefined) return { kind: 'no-range' };
    throw wrongSize(blob, total);
  }
  const length = Number(last) + 1 - Number(first);
  if (Number(first) !== start || !(length > 0) || start + length > end) {
    throw new QuayctlError('protocol', `${url.host} sends another range than was asked for`);
  }
  const sent = contentLength(answer);
  if (sent !== undefined && sent !== length) {
    throw new QuayctlError('protocol', `${url.host} contradicts itself about the length of a range`);
  }
  return { kind: 'body', answer, coding: undefined, skip: 0, length, goesOn: false };
}

function wholeOf(answer: HttpAnswer, blob: Descriptor, { start, end }: BlobRange): BlobBody {
  const sent = contentLength(answer);
  const field = headerOf(answer, 'content-encoding');
  const named = codingOf(field);
  // Without a length `x-gzip` is taken for a label, as by Go's HTTP client, with which registries are tested.
  const isLabel = sent === undefined ? /^\s*x-/i.test(field ?? '') : sent === blob.size;
  const coding = isLabel ? undefined : named;
  if (coding === undefined && sent !== undefined && sent !== blob.size) throw wrongSize(blob, String(sent));
  return { kind: 'body', answer, coding, skip: start, length: end - start, goesOn: end < blob.size };
}

function contentLength(answer: HttpAnswer): number | undefined {
  const value = headerOf(answer, 'content-length');
  return value === undefined ? undefined : Number(value);
}

function wrongSize({ digest, size }: Descriptor, actual: string): QuayctlError {
  return new QuayctlError(
    'verification',
    `${shortDigest(digest)} has ${size} bytes by its manifest, but ${actual} in the registry`,
    { hint: 'the image was pushed with a wrong size, or the registry holds another blob: push it again' },
  );
}
