import { QuayctlError } from '../base/errors.ts';
import type { Entry } from '../tar/entry.ts';

/** The largest images of today have some 500,000 files; a name costs about 300 bytes of memory. */
const MAX_NAMES = 2_000_000;
/** Of links and extended attributes, all layers together; an image of 300,000 files has 5 MB of them. */
const MAX_ATTRIBUTE_BYTES = 128 * 1024 * 1024;
/** Of plain layers, together. Large images have some 50 GB; past that a small blob may be a bomb. */
const MAX_PLAIN_BYTES = 256 * 1024 ** 3;

/** Two for each name; a few seconds of work. */
const MAX_FOLLOWED = 20_000_000;

/** What an image may cost, over all its layers. */
export class Budget {
  #names = 0;
  #attributeBytes = 0;
  #plainBytes = 0;
  #followed = 0;

  /** @throws QuayctlError `limit` */
  node(): void {
    if (++this.#names > MAX_NAMES) {
      throw new QuayctlError('limit', `the layers have more than ${MAX_NAMES} entries`);
    }
  }

  /** @throws QuayctlError `limit` */
  spend({ linkPath, xattrs }: Entry): void {
    let bytes = linkPath.length;
    for (const [name, value] of xattrs) bytes += name.length + value.length;
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

  /** @throws QuayctlError `limit` */
  plain(bytes: number): void {
    this.#plainBytes += bytes;
    if (this.#plainBytes > MAX_PLAIN_BYTES) {
      throw new QuayctlError('limit', `the layers have more than ${MAX_PLAIN_BYTES} bytes, unpacked`);
    }
  }
}
