import { randomBytes } from 'node:crypto';
import Wire from 'bittorrent-protocol';
import type { InfoHash } from '../metainfo/metainfo.ts';
import { handBlock } from './privates.ts';

/** The other end of a connection on which the registry stands as a peer: gives pieces that it was handed whole. */
export class RegistryWire extends Wire {
  /** By which webtorrent knows a connection given to `addWebSeed`. */
  readonly connId = 'quayctl-registry';
  readonly #ready = new Map<number, Uint8Array>();
  #otherEnd: Wire | undefined;

  constructor(infoHash: InfoHash) {
    super('registry');
    this.once('handshake', () => {
      this.handshake(infoHash, randomBytes(20).toString('hex'), { fast: true });
      // It says nothing of what it has: pieces are asked for one by one as they are put here.
      this.haveNone();
      this.unchoke();
    });
    this.on(
      'request',
      (
        index: number,
        offset: number,
        length: number,
        answer: (error: Error | null, bytes?: Uint8Array) => void,
      ) => {
        const bytes = this.#ready.get(index);
        if (bytes === undefined) return answer(new Error('not here'));
        const block = bytes.subarray(offset, offset + length);
        if (this.#otherEnd === undefined) answer(null, block);
        else handBlock(this, this.#otherEnd, { piece: index, offset, length }, block);
      },
    );
    this.on('error', () => {});
  }

  /** webtorrent's end of this connection. */
  attach(otherEnd: Wire): void {
    this.#otherEnd = otherEnd;
  }

  offer(index: number, bytes: Uint8Array): void {
    this.#ready.set(index, bytes);
  }

  withdraw(index: number): void {
    this.#ready.delete(index);
  }
}
