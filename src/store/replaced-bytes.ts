import { QuayctlError } from '../base/errors.ts';

/**
 * Bytes of a blob that were given out before they were verified have turned out to be wrong, and others have taken
 * their place or are being fetched. Who used them begins again from the committed blob.
 */
export class ReplacedBytes extends QuayctlError {
  constructor(name: string) {
    super('verification', `${name}: bytes that were read are wrong`);
  }
}
