import { Readable } from 'node:stream';
import type { PrivateKey } from 'openpgp';
import { QuayctlError } from '../../base/errors.ts';
import { loadOpenPgpKey } from '../tokens/secret-file.ts';

/** gpg's default, and NIST's for what is to last beyond 2030. rkt takes RSA alone of what is current. */
const RSA_BITS = 3072;
/** Chance of failing them all: one in 256 to the power of this. */
const MAX_TRIES = 16;
const KEY_AGE_MS = 3_600_000;
const USER = { name: 'quayctl serve' };
/** A notation that only OpenPGP.js writes; rkt's library is old, and is shown what it has seen before. */
const CONFIG = { nonDeterministicSignaturesViaNotation: false };

/** Signs ACIs with the OpenPGP key of the secret file: RFC 9580's version 4, as gpg and rkt read it. */
export class AciSigner {
  readonly #secretFile: string;
  #key: Promise<PrivateKey> | undefined;

  readonly #onKey: (fingerprint: string) => void;

  /** @param onKey told the fingerprint when the key is first used */
  constructor(secretFile: string, onKey: (fingerprint: string) => void = () => undefined) {
    this.#secretFile = secretFile;
    this.#onKey = onKey;
  }

  /** Armored. @throws QuayctlError `store` */
  async publicKey(): Promise<string> {
    return (await this.#load()).toPublic().armor();
  }

  /** 40 lower-case hexadecimal digits: what rkt names the file of a trusted key. @throws QuayctlError `store` */
  async fingerprint(): Promise<string> {
    return (await this.#load()).getFingerprint();
  }

  /**
   * A detached, armored signature of the bytes, of full length: rkt's library hands the number to Go without its leading
   * zeros, and Go takes no shorter one since 1.20. One signature in 256 is shorter, and is made again with another time.
   * @param open the bytes from their beginning; asked once, or again for each further try
   * @param at the time of the signature
   * @throws QuayctlError `store`; what the stream fails with
   */
  async sign(open: () => Readable, at = new Date()): Promise<string> {
    const key = await this.#load();
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const armored = await signOnce(key, open(), new Date(at.getTime() - tries * 1000));
      if (await isFullLength(armored)) return armored;
    }
    throw new QuayctlError('internal', `no signature of full length in ${MAX_TRIES} tries`);
  }

  #load(): Promise<PrivateKey> {
    if (this.#key !== undefined) return this.#key;
    this.#key = load(this.#secretFile).then((key) => {
      this.#onKey(key.getFingerprint());
      return key;
    });
    // A file that could not be written is tried again.
    this.#key.catch(() => (this.#key = undefined));
    return this.#key;
  }
}

async function signOnce(signingKeys: PrivateKey, content: Readable, date: Date): Promise<string> {
  const { createMessage, sign } = await import('openpgp');
  const message = await createMessage({ binary: Readable.toWeb(content) as ReadableStream<Uint8Array> });
  readOnce(message.packets[0]);
  const options = { message, signingKeys, detached: true, format: 'armored', date, config: CONFIG } as const;
  const signature: unknown = await sign(options);
  let armored = '';
  for await (const part of signature as AsyncIterable<string>) armored += part;
  return armored;
}

async function isFullLength(armoredSignature: string): Promise<boolean> {
  const { readSignature } = await import('openpgp');
  const { packets } = await readSignature({ armoredSignature });
  return packets.every(isFull);
}

/** OpenPGP.js keeps the number without its leading zeros, too. */
function isFull(packet: object): boolean {
  const { s } = Object((packet as { params?: unknown }).params) as { s?: Uint8Array };
  return s === undefined || s.length === RSA_BITS / 8;
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
      // So that its signatures can have another time than that of the key, and none in the future.
      date: new Date(Date.now() - KEY_AGE_MS),
      config: CONFIG,
    });
    return privateKey;
  });
  try {
    return await withFullSignatures(await readPrivateKey({ armoredKey }));
  } catch {
    // Not as the cause: it may quote the key.
    throw new QuayctlError('store', `the OpenPGP key in ${secretFile} cannot be read`);
  }
}

/** The same key, with the same fingerprint; what it says of itself is signed again until `rkt trust` can read it. */
async function withFullSignatures(key: PrivateKey): Promise<PrivateKey> {
  const { reformatKey } = await import('openpgp');
  let full = key;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    if (full.users.every((user) => user.selfCertifications.every(isFull))) return full;
    const date = new Date(key.getCreationTime().getTime() + tries * 1000);
    const made = await reformatKey({
      privateKey: key,
      userIDs: [USER],
      date,
      format: 'object',
      config: CONFIG,
    });
    full = made.privateKey;
  }
  return full;
}
