import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dropBody, readBody, type HttpAnswer } from '../http/http.ts';
import { redact } from '../base/redact.ts';
import type { Credential } from '../credentials/credential.ts';

/** What a registry says of its own failure; a proxy's error page may be longer than any of them. */
const MAX_ERROR_BYTES = 64 * 1024;
const MAX_MESSAGE = 200;
/** Reasons that take longer are done without. */
const MAX_ERROR_MS = 5_000;

/** distribution-spec, "Error Codes": the first of {errors: [{code, message}]}. */
export interface Refusal {
  /** `NAME_UNKNOWN`; empty where none is given. */
  readonly code: string;
  /** May be shown: no control characters, no secrets, not long. Empty where none is given. */
  readonly message: string;
}

const NO_REASON: Refusal = { code: '', message: '' };

/** Reads the body of an answer that is no success. Whatever it is, it is a Refusal. @throws the signal's reason */
export async function readRefusal(answer: HttpAnswer, url: URL, signal: AbortSignal): Promise<Refusal> {
  const timer = setTimeout(() => dropBody(answer), MAX_ERROR_MS);
  try {
    const bytes = await readBody(answer, { maxBytes: MAX_ERROR_BYTES, url, what: 'its error', signal });
    return parseRefusal(bytes);
  } catch (error) {
    signal.throwIfAborted();
    if (isQuayctlError(error)) return NO_REASON;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Never throws: what is no such JSON has no reason in it. */
export function parseRefusal(bytes: Buffer): Refusal {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    return NO_REASON;
  }
  const { errors } = Object(json) as { errors?: unknown };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const { code, message } = Object(first) as { code?: unknown; message?: unknown };
  return {
    code: typeof code === 'string' ? code : '',
    message: typeof message === 'string' ? presentable(message) : '',
  };
}

/**
 * What a 401 or 403 means to the user, and what can be done.
 * @param credential that was shown, if any
 * @param advice a better hint, where more is known
 */
export function unauthorized(
  registry: string,
  what: string,
  credential: Credential | undefined,
  { message }: Refusal = NO_REASON,
  advice?: string,
): QuayctlError {
  const where = what.startsWith(`${registry}/`) ? '' : `${registry}: `;
  return new QuayctlError(
    'unauthorized',
    `${where}not authorised for ${what}${message === '' ? '' : ` (${message})`}`,
    {
      hint:
        advice ??
        (credential !== undefined
          ? wrongCredential(registry, credential)
          : `log in with \`quayctl login ${registry}\`; the registry may also answer this way when the repository does not exist`),
    },
  );
}

/** Several places may have one, and the first is shown: the user has to know which. */
function wrongCredential(registry: string, { source }: Credential): string {
  const from = source === undefined ? '' : ` from ${source.name}`;
  const what = `the credential for ${registry}${from} is wrong, expired, or has no right to it`;
  if (source?.isFirst === true) return `${what}; change it there, which comes before \`quayctl login\``;
  return `${what}; \`quayctl login ${registry}\` replaces it`;
}

function presentable(message: string): string {
  return redact(message.slice(0, 4 * MAX_MESSAGE))
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_MESSAGE);
}
