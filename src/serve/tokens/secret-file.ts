import { randomBytes } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import { parseJsonObject, type JsonObject } from '../../image/json.ts';
import { createPrivateFile, writePrivateFile } from '../torrents/private-file.ts';
import { Secret } from '../torrents/secret.ts';
import { makeSigningKey, parseSigningKeys, rotated, type SigningKey } from './signing-key.ts';

/** What replicas share: who has this file is the service. */
export interface Secrets {
  readonly secret: Secret;
  /** Oldest first, at least one. */
  readonly keys: readonly SigningKey[];
}

/** The length of the HMAC secret, which is that of the hash. */
const SECRET_BYTES = 32;
const MAX_SECRET_FILE_BYTES = 256 * 1024;
const LOCK_RETRY_MS = 50;
/** Making a key takes a second on a slow machine; a lock that is older was left behind. */
const LOCK_STALE_MS = 15_000;

/**
 * The secrets of a file; what is missing is made and added. Of several processes that do so at once, one wins and all
 * use its.
 * @throws QuayctlError `store` for a file that cannot be read, written, or understood
 */
export async function loadSecrets(path: string): Promise<Secrets> {
  return onFile(path, async () => {
    const found = await read(path);
    const secrets = found === undefined ? undefined : parse(found);
    if (secrets !== undefined && secrets.keys.length > 0) return secrets;
    return change(path, async (content) => {
      const keys = parseSigningKeys(content['keys']);
      return keys.length > 0 ? content : { ...content, keys: [await makeSigningKey(Date.now())] };
    });
  });
}

/**
 * The OpenPGP key that signs ACIs, armored; made and added where there is none. Replicas come to have the same.
 * @param make its making takes a second or so, which a service that makes no ACIs does not spend
 * @throws QuayctlError `store`
 */
export async function loadOpenPgpKey(path: string, make: () => Promise<string>): Promise<string> {
  return onFile(path, async () => {
    const known = openPgpKey(await read(path));
    if (known !== undefined) return known;
    const made = await make();
    await change(path, (content) =>
      Promise.resolve(openPgpKey(content) === undefined ? { ...content, openpgp: made } : content),
    );
    return openPgpKey(await read(path)) ?? made;
  });
}

/**
 * Adds a signing key, which running services take up by themselves.
 * @returns the new key
 * @throws QuayctlError `store`; `not-found` where no service has its secret there: a new secret would be no use to one
 */
export async function rotateKey(path: string): Promise<SigningKey> {
  return onFile(path, async () => {
    if ((await read(path)) === undefined) {
      throw new QuayctlError('not-found', `there is no secret file ${path}, so no service uses it`, {
        hint: "--data DIR is the service's data directory, --secret-file FILE its secret",
      });
    }
    const key = await makeSigningKey(Date.now());
    await change(path, (content) => {
      const keys = parseSigningKeys(content['keys']);
      return Promise.resolve({ ...content, keys: keys.length > 0 ? rotated(keys, key) : [key] });
    });
    return key;
  });
}

/** Changes when somebody has written the file; undefined while it is not there. */
export async function secretFileStamp(path: string): Promise<string | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats === undefined ? undefined : `${stats.mtimeMs} ${stats.size} ${stats.ino}`;
}

/** One change at a time, over all processes: two new keys at once would lose one. Unknown fields stay. */
async function change(path: string, edit: (content: JsonObject) => Promise<JsonObject>): Promise<Secrets> {
  const lock = `${path}.lock`;
  while (!(await createPrivateFile(lock, new Uint8Array()))) await waitForLock(lock);
  try {
    const before = (await read(path)) ?? fresh();
    parse(before);
    const after = await edit(before);
    if (after !== before) await writePrivateFile(path, Buffer.from(`${JSON.stringify(after)}\n`));
    return parse(after);
  } finally {
    await rm(lock, { force: true });
  }
}

async function waitForLock(lock: string): Promise<void> {
  const stats = await stat(lock).catch(() => undefined);
  if (stats !== undefined && Date.now() - stats.mtimeMs > LOCK_STALE_MS) await rm(lock, { force: true });
  else await delay(LOCK_RETRY_MS, AbortSignal.timeout(LOCK_STALE_MS));
}

function fresh(): JsonObject {
  return { version: 1, hmac: randomBytes(SECRET_BYTES).toString('base64url') };
}

async function read(path: string): Promise<JsonObject | undefined> {
  const bytes = await readFile(path).catch(onlyIfAbsent);
  return bytes === undefined ? undefined : parseJsonObject(bytes, 'secret file', MAX_SECRET_FILE_BYTES);
}

function parse({ version, hmac, keys }: JsonObject): Secrets {
  const key = typeof hmac === 'string' ? Buffer.from(hmac, 'base64url') : undefined;
  if (version !== 1 || key?.length !== SECRET_BYTES) {
    throw new QuayctlError('store', `not {"version":1,"hmac":"<${SECRET_BYTES} bytes in base64url>"}`);
  }
  return { secret: new Secret(key), keys: parseSigningKeys(keys) };
}

function openPgpKey(content: JsonObject | undefined): string | undefined {
  const key = content?.['openpgp'];
  return typeof key === 'string' ? key : undefined;
}

async function onFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isQuayctlError(error, 'not-found')) throw error;
    throw new QuayctlError('store', `the secret file ${path} cannot be used`, { cause: error });
  }
}

function onlyIfAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
