import { getHeapStatistics } from 'node:v8';
import { QuayctlError } from '../base/errors.ts';
import type { Entry } from '../tar/entry.ts';

/** Files in the merged layers of an image. The largest images of today have about 500,000. */
const MAX_NAMES = 2_000_000;
/** Of memory, for each name with all that is kept of it; measured. */
const BYTES_PER_NAME = 600;
/** Of the heap, which the names of all images that are merged at one time may take together. */
const SHARE_OF_HEAP = 0.6;
const NAMES_THAT_FIT = Math.floor((getHeapStatistics().heap_size_limit * SHARE_OF_HEAP) / BYTES_PER_NAME);
/** Links and extended attributes of all layers together. An image of 300,000 files has 5 MB of them. */
const MAX_ATTRIBUTE_BYTES = 128 * 1024 * 1024;
/** Unpacked bytes of all layers together. Large images have about 50 GB. */
const MAX_PLAIN_BYTES = 256 * 1024 ** 3;
/**
 * How much larger a layer may be unpacked than packed. Real layers grow about threefold, repetitive text some
 * hundredfold.
 */
const MAX_RATIO = 1000;
/** Up to here a high ratio costs little. */
const ALWAYS_PLAIN_BYTES = 1024 ** 3;
/** Two for each name; a few seconds of work. */
const MAX_FOLLOWED = 20_000_000;

/** Names of all images that are being merged. */
let namesInUse = 0;

/** What an image may cost, over all its layers. To be released in the end. */
export class Budget {
  #names = 0;
  #attributeBytes = 0;
  #packedBytes = 0;
  #plainBytes = 0;
  #contentBytes = 0;
  #followed = 0;

  /** @throws QuayctlError `limit`; one that `isCrowded` where other images take the memory */
  node(): void {
    this.#names++;
    namesInUse++;
    if (this.#names > MAX_NAMES) {
      throw new QuayctlError('limit', `the layers have more than ${MAX_NAMES} entries`);
    }
    if (namesInUse <= NAMES_THAT_FIT) return;
    if (this.#names < namesInUse)
      throw new QuayctlError('limit', 'other images take the memory', { cause: CROWDED });
    throw new QuayctlError(
      'limit',
      `the layers have more than ${NAMES_THAT_FIT} entries, which this memory does not hold`,
    );
  }

  /** What is kept of an entry beside its name, and what it is unpacked to. @throws QuayctlError `limit` */
  spend(header: Entry): void {
    this.attributes(attributeBytesOf(header));
    // Of a sparse file most is not in the layer.
    this.#contentBytes += header.size;
    this.#assertUnpacked(this.#contentBytes);
  }

  /** @throws QuayctlError `limit` */
  attributes(bytes: number): void {
    this.#attributeBytes += bytes;
    if (this.#attributeBytes > MAX_ATTRIBUTE_BYTES) {
      throw new QuayctlError('limit', `links and attributes have more than ${MAX_ATTRIBUTE_BYTES} bytes`);
    }
  }

  /** Names that a symbolic link on the way to an entry puts on that way. @throws QuayctlError `limit` */
  follow(names: number): void {
    this.#followed += names;
    if (this.#followed > MAX_FOLLOWED) {
      throw new QuayctlError('limit', 'the paths of the layers lead through too many symbolic links');
    }
  }

  /** Bytes of a blob, as it lies there. */
  packed(bytes: number): void {
    this.#packedBytes += bytes;
  }

  /** @throws QuayctlError `limit` */
  plain(bytes: number): void {
    this.#plainBytes += bytes;
    this.#assertUnpacked(this.#plainBytes);
  }

  /** The memory is free again. */
  release(): void {
    namesInUse -= this.#names;
    this.#names = 0;
  }

  #assertUnpacked(bytes: number): void {
    if (bytes > MAX_PLAIN_BYTES) {
      throw new QuayctlError('limit', `the layers have more than ${MAX_PLAIN_BYTES} bytes, unpacked`);
    }
    if (bytes > ALWAYS_PLAIN_BYTES && bytes > MAX_RATIO * this.#packedBytes) {
      throw new QuayctlError('limit', `the layers unpack to more than ${MAX_RATIO} times their size`);
    }
  }
}

const CROWDED = new Error('more than one image is merged at this time');

/** True for a failure that passes when the other images are done. */
export function isCrowded(error: unknown): boolean {
  return error instanceof Error && error.cause === CROWDED;
}

export function attributeBytesOf({ linkPath, xattrs }: Pick<Entry, 'linkPath' | 'xattrs'>): number {
  let bytes = linkPath.length;
  for (const [name, value] of xattrs) bytes += name.length + value.length;
  return bytes;
}
