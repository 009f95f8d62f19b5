import { Readable } from 'node:stream';
import type { PrivateKey } from 'openpgp';
import { QuayctlError } from '../../base/errors.ts';
import { loadOpenPgpKey } from '../tokens/secret-file.ts';

/** gpg's default, and NIST's for what is to last beyond 2030. rkt takes RSA alone of what is current. */
const RSA_BITS = 3072;
const USER = { name: 'quayctl serve' };
/** A notation that only OpenPGP.js writes; rkt's library is old, and is shown what it has seen before. */
const CONFIG = { nonDeterministicSignaturesViaNotation: false };

/** Signs ACIs with the OpenPGP key of the secret file: RFC 9580's version 4, as gpg and rkt read it. */
export class AciSigner {
  readonly #secretFile: string;
  #key: Promise<PrivateKey> | undefined;

  constructor(secretFile: string) {
    this.#secretFile = secretFile;
  }

  /** Armored. @throws QuayctlError `store` */
  async publicKey(): Promise<string> {
    return (await this.#load()).toPublic().armor();
  }

  /** 40 lower-case hexadecimal digits: what rkt names the file of a trusted key. @throws QuayctlError `store` */
  async fingerprint(): Promise<string> {
    return (await this.#load()).getFingerprint();
  }

  /** A detached, armored signature of the bytes. @throws QuayctlError `store`; what the stream fails with */
  async sign(content: Readable): Promise<string> {
    const { createMessage, sign } = await import('openpgp');
    const message = await createMessage({ binary: Readable.toWeb(content) as ReadableStream<Uint8Array> });
    readOnce(message.packets[0]);
    const signature: unknown = await sign({
      message,
      signingKeys: await this.#load(),
      detached: true,
      format: 'armored',
      config: CONFIG,
    });
    let armored = '';
    for await (const part of signature as AsyncIterable<string>) armored += part;
    return armored;
  }

  #load(): Promise<PrivateKey> {
    this.#key ??= load(this.#secretFile);
    // A file that could not be written is tried again.
    this.#key.catch(() => (this.#key = undefined));
    return this.#key;
  }
}

/**
 * OpenPGP.js reads a copy of what it signs, in case that somebody reads it afterwards: all of it would be kept in memory,
 * several times over.
 */
function readOnce(literal: unknown): void {
  const packet = literal as { getBytes: () => unknown };
  const bytes = packet.getBytes();
  packet.getBytes = () => bytes;
}

async function load(secretFile: string): Promise<PrivateKey> {
  const { generateKey, readPrivateKey } = await import('openpgp');
  const armoredKey = await loadOpenPgpKey(secretFile, async () => {
    const { privateKey } = await generateKey({
      type: 'rsa',
      rsaBits: RSA_BITS,
      userIDs: [USER],
      subkeys: [],
      format: 'armored',
      config: CONFIG,
    });
    return privateKey;
  });
  try {
    return await readPrivateKey({ armoredKey });
  } catch {
    // Not as the cause: it may quote the key.
    throw new QuayctlError('store', `the OpenPGP key in ${secretFile} cannot be read`);
  }
}
