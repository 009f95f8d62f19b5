import { QuayctlError } from '../base/errors.ts';
import { readCredentialFile } from '../credentials/bounded-file.ts';
import type { Http } from '../http/http.ts';
import { Clair } from '../registry/security/clair.ts';
import { httpUrl, named } from './flags.ts';
import { parseDuration } from '../base/units.ts';
import { parseSeverity } from '../security/severity.ts';
import type { NotifyOptions } from '../serve/options.ts';
import { DEFAULT_ISSUER, type RawNotifyFlags, type RawReportFlags } from './report-flags.ts';

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

/** @param fallback of the command, as it was declared */
export function securityWait({ securityWait: given }: RawReportFlags, fallback: string): number {
  const ms = named('--security-wait', given ?? fallback, parseDuration);
  if (ms >= 1000 && ms <= LONGEST_WAIT_MS) return ms;
  throw new QuayctlError('usage', '--security-wait: expected 1s to 1d');
}

/** Timers count in 31 bits. */
const LONGEST_WAIT_MS = 86_400_000;

/**
 * The receivers of change notifications, if there are any.
 * @throws QuayctlError `usage`, `credentials` for a key that cannot be read
 */
export async function notifyOptions(raw: RawNotifyFlags): Promise<NotifyOptions | undefined> {
  const { notify, notifyKey, notifySeverity = 'high', notifyEvery = '1h' } = raw;
  const atLeast = named('--notify-severity', notifySeverity, parseSeverity);
  const everyMs = named('--notify-every', notifyEvery, parseDuration);
  if (everyMs < 1000 || everyMs > LONGEST_EVERY_MS) {
    throw new QuayctlError('usage', '--notify-every: expected 1s to 7d');
  }
  if (notify === undefined) {
    if (notifyKey === undefined) return undefined;
    throw new QuayctlError('usage', '--notify-key without --notify: who is to be told?');
  }
  if (notifyKey === undefined) {
    const hint = 'head -c 32 /dev/urandom | base64 > FILE makes one; the receiver needs it, too';
    throw new QuayctlError('usage', '--notify needs --notify-key FILE, which signs what is sent', { hint });
  }
  const url = URL.parse(notify);
  // The text may hold a secret, so it is not in the message.
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new QuayctlError('usage', '--notify: expected an http or https URL without a user name');
  }
  const text = await readCredentialFile(notifyKey);
  const key = Buffer.from((text ?? '').trim());
  if (key.length > 0) return { url, key, atLeast, everyMs };
  throw new QuayctlError('credentials', `--notify-key: ${notifyKey} holds no key`);
}

/** Timers count in 31 bits. */
const LONGEST_EVERY_MS = 7 * 86_400_000;

/** @throws QuayctlError `credentials` */
async function readKey(flag: string, path: string): Promise<Uint8Array> {
  const text = await readCredentialFile(path);
  if (text === undefined) throw new QuayctlError('credentials', `${flag}: there is no file ${path}`);
  const base64 = text.replace(/\s+/g, '');
  if (base64 !== '' && /^[A-Za-z0-9+/_-]+={0,2}$/.test(base64)) return Buffer.from(base64, 'base64');
  throw new QuayctlError('credentials', `${flag}: ${path} does not hold a key in base64`);
}
