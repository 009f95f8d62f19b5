import { passThrough, refuse, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { resource } from '../../http-server/path.ts';
import { isRedirect } from '../../http/redirect.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { admitsNamespace } from './quay-api.ts';
import { answerManifest, type ManifestAnswerOptions } from './manifest-answer.ts';

export interface RegistryRouteOptions {
  readonly upstream: Upstream;
  /** By which callers may mean this upstream. */
  readonly names: UpstreamNames;
  /** Where manifests are kept for the time when the upstream does not answer. */
  readonly manifests: Omit<ManifestAnswerOptions, 'upstream'>;
}

/**
 * `/v2/[?ns=HOST]`: the upstream itself, read-only. Redirects to storage are the client's to follow, as with the
 * upstream. Engines that use the service as a mirror of several registries say in `ns` which one they mean (containerd).
 */
export function registryRoute({ upstream, names, manifests }: RegistryRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    // A credential for another registry must not reach this upstream, so nothing else is looked at before.
    if (!admitsNamespace(names, exchange)) return;
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
      query: wanted.kind === 'tags' ? withoutNamespace(rawQuery) : undefined,
    };
    if (wanted.kind === 'manifest') {
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

/** `ns` is between the caller and this service. */
function withoutNamespace(rawQuery: string): string {
  return rawQuery
    .split('&')
    .filter((pair) => !/^ns(?:=|$)/.test(pair))
    .join('&');
}
