import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { QuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { parseJsonObject } from '../../image/json.ts';
import { createPrivateFile } from './private-file.ts';

/** Of the HMAC secret: as long as the hash. */
const SECRET_BYTES = 32;
/** RSA and OpenPGP keys will stand here too. */
const MAX_SECRET_FILE_BYTES = 256 * 1024;

/** The secret that decides info hashes and signs web seeds; the same on every replica. */
export class Secret {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `info.name` of a blob's torrent: nobody without the secret can compute the info hash (protocol.md). */
  torrentName(digest: Digest): string {
    return this.#hmac(`quayctl-1\n${digest}`).toString('hex');
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

/**
 * The secret of a file, made on first use. Of several processes that make it at once, one wins and all use its.
 * @throws QuayctlError `store` for a file that cannot be read, written, or understood
 */
export async function loadSecret(path: string): Promise<Secret> {
  try {
    const found = await readFile(path).catch(onlyIfAbsent);
    if (found !== undefined) return parseSecret(found);
    const content = { version: 1, hmac: randomBytes(SECRET_BYTES).toString('base64url') };
    await createPrivateFile(path, Buffer.from(`${JSON.stringify(content)}\n`));
    return parseSecret(await readFile(path));
  } catch (error) {
    throw new QuayctlError('store', `the secret file ${path} cannot be used`, { cause: error });
  }
}

function parseSecret(bytes: Uint8Array): Secret {
  const { version, hmac } = parseJsonObject(bytes, 'secret file', MAX_SECRET_FILE_BYTES);
  const key = typeof hmac === 'string' ? Buffer.from(hmac, 'base64url') : undefined;
  if (version !== 1 || key?.length !== SECRET_BYTES) {
    throw new QuayctlError('store', `not {"version":1,"hmac":"<${SECRET_BYTES} bytes in base64url>"}`);
  }
  return new Secret(key);
}

function onlyIfAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
