import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Digest } from '../../image/digest.ts';

/** The secret that decides info hashes and signs web seeds; the same on every replica. */
export class Secret {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `info.name` of a blob's torrent: without the secret the info hash cannot be computed (docs/protocol.md, "The metainfo"). */
  torrentName(digest: Digest): string {
    return this.#hmac(`quayctl-1\n${digest}`).toString('hex');
  }

  /** A name that stands for `fields`, for the purpose that the first of them names; hex. */
  pseudonym(...fields: readonly string[]): string {
    return this.#hmac(fields.join('\n')).toString('hex');
  }

  /** A signature over `fields`, for the purpose that the first of them names. */
  sign(...fields: readonly string[]): string {
    return this.#hmac(fields.join('\n')).toString('base64url');
  }

  /** Constant in time, whatever is presented. */
  verify(signature: string, ...fields: readonly string[]): boolean {
    const wanted = Buffer.from(this.sign(...fields));
    const presented = Buffer.from(signature);
    return presented.length === wanted.length && timingSafeEqual(presented, wanted);
  }

  #hmac(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }
}
