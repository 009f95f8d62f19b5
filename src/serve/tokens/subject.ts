import { decodeJwt } from 'jose';
import type { Secret } from '../torrents/secret.ts';

const PURPOSE = 'quayctl-subject-1';

/**
 * `sub` of a caller's announce tokens: equal for tokens of one caller, and not to be traced to the caller
 * without the secret.
 * @param authorization the caller's, which the upstream has accepted
 */
export function subjectOf(secret: Secret, authorization: string | undefined): string {
  const [kind, name] = callerOf(authorization);
  return secret.pseudonym(PURPOSE, kind, name);
}

function callerOf(authorization = ''): [kind: string, name: string] {
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(authorization.trim()) ?? [];
  switch (scheme.toLowerCase()) {
    case 'basic': {
      const [user = ''] = Buffer.from(value, 'base64').toString('utf8').split(':', 1);
      return ['basic', user];
    }
    case 'bearer':
      return bearerOf(value);
    default:
      return ['anonymous', ''];
  }
}

/** Whether the token is good is the upstream's to say; here it only tells who showed it. */
function bearerOf(token: string): [kind: string, name: string] {
  try {
    const { iss = '', sub = '' } = decodeJwt(token);
    // distribution's anonymous tokens have an empty subject.
    return sub === '' ? ['anonymous', ''] : ['bearer', `${iss}\n${sub}`];
  } catch {
    return ['token', token];
  }
}
