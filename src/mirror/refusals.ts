import { refuse, send, type AnswerHeaders } from '../http-server/request-context.ts';
import type { MirrorRequest } from './mirror-context.ts';

/** What podman and dockerd are asked for, so that they show the password that is kept for this registry. */
export const BASIC_CHALLENGE = 'Basic realm="quayctl mirror"';

/**
 * The registry's refusal, handed on. Two things are changed: 429 becomes 503, as podman would come back to us for a
 * minute where it would ask the registry itself at once; and who names the registry in the path is asked for a password, not
 * for a token of a repository by our name for it.
 */
export function handOn(
  { exchange, form }: Pick<MirrorRequest, 'exchange' | 'form'>,
  status: number,
  headers: AnswerHeaders,
): void {
  if (status === 429) return refuse(exchange, 503, 'TOOMANYREQUESTS', 'the registry limits requests');
  if (status >= 500) return refuse(exchange, 503, 'UNAVAILABLE', 'the registry fails');
  if (status === 401 && form === 'path') {
    return refuse(exchange, 401, 'UNAUTHORIZED', 'the registry wants to know who asks', {
      'www-authenticate': BASIC_CHALLENGE,
    });
  }
  const { 'content-length': _length, ...rest } = headers;
  send(exchange, status, rest);
}

/** The registry did not answer in time: the engine asks it by itself, with its own patience. */
export function refuseSilent({ exchange }: Pick<MirrorRequest, 'exchange'>): void {
  refuse(exchange, 504, 'UNAVAILABLE', 'the registry does not answer');
}
