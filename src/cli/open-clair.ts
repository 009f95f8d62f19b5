import { QuayctlError } from '../base/errors.ts';
import { readCredentialFile } from '../credentials/bounded-file.ts';
import type { Http } from '../http/http.ts';
import { Clair } from '../registry/security/clair.ts';
import { httpUrl } from './flags.ts';
import { DEFAULT_ISSUER, type RawReportFlags } from './report-flags.ts';

/**
 * The Clair that is named, if any. Nothing is asked of it yet.
 * @throws QuayctlError `usage`, `credentials` for a key that cannot be read; its text is in no message
 */
export async function openClair(raw: RawReportFlags, http: Http): Promise<Clair | undefined> {
  const { clair, clairKey, clairIssuer = DEFAULT_ISSUER } = raw;
  if (clair === undefined) {
    if (clairKey === undefined) return undefined;
    throw new QuayctlError('usage', '--clair-key without --clair: which Clair is it the key of?');
  }
  const url = httpUrl('--clair', clair);
  const key = clairKey === undefined ? undefined : await readKey('--clair-key', clairKey);
  return new Clair({ url, key, issuer: clairIssuer, http });
}

/** @throws QuayctlError `credentials` */
async function readKey(flag: string, path: string): Promise<Uint8Array> {
  const text = await readCredentialFile(path);
  if (text === undefined) throw new QuayctlError('credentials', `${flag}: there is no file ${path}`);
  const base64 = text.replace(/\s+/g, '');
  if (base64 !== '' && /^[A-Za-z0-9+/_-]+={0,2}$/.test(base64)) return Buffer.from(base64, 'base64');
  throw new QuayctlError('credentials', `${flag}: ${path} does not hold a key in base64`);
}
