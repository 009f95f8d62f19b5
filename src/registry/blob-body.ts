import { QuayctlError } from '../base/errors.ts';
import { headerOf, type HttpAnswer } from '../http/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';

/** Where in an answer's body the bytes are that were asked for. */
export interface BlobBody {
  readonly answer: HttpAnswer;
  /** Bytes before them: a server may ignore Range. */
  readonly skip: number;
  /** Bytes that are to come; fewer than asked for where the server cuts ranges short (RFC 9110 section 15.3.7). */
  readonly length: number;
  /** More of the blob follows that nobody wants. */
  readonly goesOn: boolean;
}

/**
 * Reads the headers of an answer to a request for bytes `start` to `end` (exclusive). What they say of the blob's
 * size must be what its manifest says.
 * @throws QuayctlError `verification` for another size, `protocol` for another answer than was asked for
 */
export function bodyOf(answer: HttpAnswer, blob: Descriptor, start: number, end: number, url: URL): BlobBody {
  const encoding = headerOf(answer, 'content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new QuayctlError('protocol', `${url.host} sends blobs in another encoding than they are kept in`);
  }
  switch (answer.statusCode) {
    case 206:
      return partOf(answer, blob, start, end, url);
    case 200:
      return wholeOf(answer, blob, start, end);
    case 416:
      throw wrongSize(blob, 'fewer');
    default:
      throw new QuayctlError(
        'protocol',
        `${url.host} answers ${answer.statusCode} for ${shortDigest(blob.digest)}`,
      );
  }
}

function partOf(answer: HttpAnswer, blob: Descriptor, start: number, end: number, url: URL): BlobBody {
  const field = headerOf(answer, 'content-range') ?? '';
  const [, first, last, total] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(field) ?? [];
  if (total !== undefined && total !== '*' && Number(total) !== blob.size) throw wrongSize(blob, total);
  const length = Number(last) + 1 - Number(first);
  if (Number(first) !== start || !(length > 0) || start + length > end) {
    throw new QuayctlError('protocol', `${url.host} sends another range than was asked for`);
  }
  const sent = contentLength(answer);
  if (sent !== undefined && sent !== length) {
    throw new QuayctlError('protocol', `${url.host} contradicts itself about the length of a range`);
  }
  return { answer, skip: 0, length, goesOn: false };
}

function wholeOf(answer: HttpAnswer, blob: Descriptor, start: number, end: number): BlobBody {
  const sent = contentLength(answer);
  if (sent !== undefined && sent !== blob.size) throw wrongSize(blob, String(sent));
  return { answer, skip: start, length: end - start, goesOn: end < blob.size };
}

function contentLength(answer: HttpAnswer): number | undefined {
  const value = headerOf(answer, 'content-length');
  return value === undefined ? undefined : Number(value);
}

function wrongSize({ digest, size }: Descriptor, actual: string): QuayctlError {
  return new QuayctlError(
    'verification',
    `${shortDigest(digest)} has ${size} bytes by its manifest, but ${actual} in the registry`,
  );
}
