import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  timingSafeEqual,
  X509Certificate,
} from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';
import { createPrivateFile } from '../serve/torrents/private-file.ts';
import { selfSignedCertificate } from '../swarm/admission/certificate.ts';

/** A key and a certificate on P-256 in PEM have 900 bytes. */
const MAX_BYTES = 16 * 1024;
const SECRET_BYTES = 32;
const NAMES = ['127.0.0.1', 'localhost'];

/** By which engines know this mirror, and the mirror those who read root's settings. */
export interface MirrorIdentity {
  /** PEM; secret. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
  /** What the header of hosts.toml holds. It is made of the key, so one file has all. */
  readonly secret: string;
}

/**
 * Reads the file with key and certificate; where there is none, makes it, readable by its owner alone.
 * @throws QuayctlError `credentials` for a file that holds something else, or cannot be read or written
 */
export async function openIdentity(path: string): Promise<MirrorIdentity> {
  try {
    const known = await readIdentity(path);
    if (known !== undefined) return known;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const certificate = selfSignedCertificate(publicKey, privateKey, NAMES);
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() + certificate;
    // Of several that make one at once, all use the first.
    const isFirst = await createPrivateFile(path, Buffer.from(pem));
    return isFirst ? identityOf(pem) : ((await readIdentity(path)) ?? identityOf(pem));
  } catch (cause) {
    if (cause instanceof QuayctlError) throw cause;
    throw new QuayctlError('credentials', `cannot use ${path}, the key of this mirror`, {
      cause,
      hint: 'name another place for it (--identity FILE), for install as well',
    });
  }
}

/** Undefined where there is none. @throws QuayctlError `credentials`; the error of the system call */
export async function readIdentity(path: string): Promise<MirrorIdentity | undefined> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.size > MAX_BYTES) throw new TypeError('no identity');
    return identityOf(await file.readFile('latin1'));
  } catch {
    // Whatever it is: nothing of it is shown.
    throw new QuayctlError('credentials', `${path} holds no key and certificate of a mirror`, {
      hint: 'move it away, and the mirror makes another when it starts; then run quayctl mirror install again',
    });
  } finally {
    await file.close();
  }
}

/** Whether somebody shows the secret; compared as hashes, so that the time tells nothing. */
export function showsSecret(shown: string, { secret }: MirrorIdentity): boolean {
  const [a, b] = [shown, secret].map((text) => createHash('sha256').update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}

function identityOf(pem: string): MirrorIdentity {
  const [, key = '', certificate = ''] =
    /^(-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n)(-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n)$/.exec(
      pem,
    ) ?? [];
  const privateKey = createPrivateKey(key);
  if (!new X509Certificate(certificate).checkPrivateKey(privateKey)) throw new TypeError('another key');
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const secret = privateKey.export({ type: 'pkcs8', format: 'der' });
  const derived = hkdfSync('sha256', secret, publicKey, 'quayctl mirror header', SECRET_BYTES);
  return { key, certificate, secret: Buffer.from(derived).toString('base64url') };
}
