import { passThrough, refuse, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { resource } from '../../http-server/path.ts';
import { isRedirect } from '../../http/redirect.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { answerManifest, type ManifestAnswerOptions } from './manifest-answer.ts';

/**
 * `/v2/`: the upstream itself, read-only. Redirects to storage are the client's to follow, as with the upstream.
 * @param manifests where they are kept for the time when the upstream does not answer; absent: they are not
 */
export function registryRoute(
  upstream: Upstream,
  manifests?: Omit<ManifestAnswerOptions, 'upstream'>,
): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const { request, method, components, rawQuery, signal } = exchange;
    const wanted = resource(components.slice(1));
    if (wanted === undefined) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /v2/');
    const { authorization, accept, range } = request.headers;
    const question = {
      method,
      authorization,
      accept,
      range,
      ifNoneMatch: request.headers['if-none-match'],
      query: wanted.kind === 'tags' ? rawQuery : undefined,
    };
    if (wanted.kind === 'manifest' && manifests !== undefined) {
      return answerManifest({ upstream, ...manifests }, exchange, { ...question, resource: wanted });
    }
    const answer = await upstream.ask({ ...question, resource: wanted }, signal);
    await passThrough(
      exchange,
      answer,
      isRedirect(answer.status) ? { 'referrer-policy': 'no-referrer' } : {},
    );
  };
}
