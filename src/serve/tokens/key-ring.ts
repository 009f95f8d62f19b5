import { importJWK } from 'jose';
import type { JsonObject } from '../../image/json.ts';
import { loadSecrets, secretFileStamp } from './secret-file.ts';
import { aliveKeys, publicJwk, signerOf, type SigningKey } from './signing-key.ts';

/** A key as jose wants it. */
export type UsableKey = Exclude<Awaited<ReturnType<typeof importJWK>>, Uint8Array>;

/** How often the file is looked at: `serve rotate-key` is another process, and so is another replica. */
const LOOK_EVERY_MS = 5000;
/** An announce with a key that we do not know makes us look, but no more often than this. */
const LOOK_SOONER_MS = 500;

/** The signing keys of the secret file, as of now; follows the file. */
export class KeyRing {
  readonly #path: string;
  #keys: readonly SigningKey[];
  #stamp: string | undefined;
  /** The stamp that `onUnreadable` was told of. */
  #told: string | undefined;
  #lookedAt = performance.now();
  #looking: Promise<void> | undefined;
  #generation = 0;
  readonly #imported = new Map<string, Promise<UsableKey>>();

  readonly #onUnreadable: (reason: string) => void;

  /**
   * @param keys as they were just loaded from `path`
   * @param onUnreadable told once for each change of the file that cannot be read
   */
  constructor(path: string, keys: readonly SigningKey[], onUnreadable: (reason: string) => void = () => {}) {
    this.#path = path;
    this.#keys = keys;
    this.#onUnreadable = onUnreadable;
  }

  /** Reads the file now, changed or not. */
  async reload(): Promise<void> {
    this.#stamp = undefined;
    await this.#reload();
  }

  /** Grows with every change: what was verified before may no longer be. */
  get generation(): number {
    return this.#generation;
  }

  /** The key that signs, and its name. */
  async signer(): Promise<{ kid: string; key: UsableKey }> {
    await this.#look(LOOK_EVERY_MS);
    const key = signerOf(this.#keys, Date.now());
    if (key === undefined) throw new Error('no signing key');
    return { kid: key.kid, key: await this.#import(`${key.kid} private`, key.jwk) };
  }

  /**
   * The key to verify with; undefined for none of ours, or one whose last token is dead.
   * @param seconds how long a token of it is accepted after it was made
   */
  async verifier(kid: string, seconds: number): Promise<UsableKey | undefined> {
    await this.#look(LOOK_EVERY_MS);
    if (!this.#keys.some((key) => key.kid === kid)) await this.#look(LOOK_SOONER_MS);
    const key = aliveKeys(this.#keys, seconds, Date.now()).find((alive) => alive.kid === kid);
    return key === undefined ? undefined : this.#import(`${kid} public`, publicJwk(key));
  }

  /** The JWK set (RFC 7517, section 5). @param seconds as for `verifier` */
  async jwks(seconds: number): Promise<JsonObject> {
    await this.#look(LOOK_EVERY_MS);
    return { keys: aliveKeys(this.#keys, seconds, Date.now()).map(publicJwk) };
  }

  /** For people. */
  async list(): Promise<{ readonly id: string; readonly madeAt: number; readonly signs: boolean }[]> {
    await this.#look(LOOK_EVERY_MS);
    const signer = signerOf(this.#keys, Date.now());
    return this.#keys.map((key) => ({ id: key.kid, madeAt: key.created * 1000, signs: key === signer }));
  }

  async #look(atLeastMs: number): Promise<void> {
    if (performance.now() - this.#lookedAt < atLeastMs) return this.#looking;
    this.#lookedAt = performance.now();
    this.#looking = this.#reload();
    await this.#looking;
  }

  async #reload(): Promise<void> {
    const stamp = await secretFileStamp(this.#path);
    if (stamp === undefined || stamp === this.#stamp) return;
    try {
      this.#keys = (await loadSecrets(this.#path)).keys;
      this.#generation++;
      this.#stamp = stamp;
    } catch (error) {
      // Half a file, or none: what we have is still good, and the file is looked at again.
      if (this.#told === stamp) return;
      this.#told = stamp;
      const { message, cause } = error as Error;
      this.#onUnreadable(`${message}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  #import(name: string, jwk: JsonObject): Promise<UsableKey> {
    let imported = this.#imported.get(name);
    if (imported === undefined) {
      imported = importJWK(jwk, 'RS256') as Promise<UsableKey>;
      this.#imported.set(name, imported);
    }
    return imported;
  }
}
