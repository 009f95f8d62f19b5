import type { Claimants } from '../base/turns.ts';
import type { RequestContext } from '../http-server/request-context.ts';
import type { Secret } from './torrents/secret.ts';
import { subjectOf } from './tokens/subject.ts';

/**
 * For whom a request costs something: the site that it comes from and, where a credential is shown, its subject. To be
 * asked only once the upstream has accepted the credential; strangers are counted by their site alone.
 */
export function claimantsOf({ site, request }: RequestContext, secret: Secret): Claimants {
  const { authorization } = request.headers;
  const subject = authorization === undefined ? undefined : subjectOf(secret, authorization);
  return subject === undefined || subject === subjectOf(secret, undefined)
    ? [site]
    : [site, `subject ${subject}`];
}
