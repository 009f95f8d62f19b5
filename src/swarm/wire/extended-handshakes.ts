import { decodeLooseBencode } from '../../metainfo/bencode.ts';

/** Bytes of one; and how often a peer may change its mind: the library keeps the names of all. */
const MAX_BYTES = 16 * 1024;
const MAX_COUNT = 8;

/** Which extended handshakes (BEP 10) of one peer the library may see: its decoder is kept busy for ever by `l-3:`. */
export class ExtendedHandshakes {
  #count = 0;

  takes(payload: Uint8Array): boolean {
    if (payload.length > MAX_BYTES || ++this.#count > MAX_COUNT) return false;
    try {
      decodeLooseBencode(payload);
      return true;
    } catch {
      return false;
    }
  }
}
