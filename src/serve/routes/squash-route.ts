import { isDigest } from '../../image/digest.ts';
import { parsePlatform, type Platform } from '../../image/platform.ts';
import { squashedTag } from '../../image/squashed.ts';
import { isQuayctlError } from '../../base/errors.ts';
import type { SourceResolver } from '../derived/resolve-source.ts';
import { refuse, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { isRepository, isTag } from '../../http-server/path.ts';
import { squashRecipe } from '../squash/squash-recipe.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { admitsNamespace, refuseUnknownPath } from './quay-api.ts';
import { answerDerived, type DerivedAnswerOptions } from './derived-answer.ts';
import { NOT_STORED } from './waiting.ts';

export interface SquashRouteOptions extends DerivedAnswerOptions {
  /** The upstream's own name; undefined for a layout, which has none. */
  readonly registry: string | undefined;
  /** What callers mean, and may read. */
  readonly resolver: SourceResolver;
  /** By which callers may mean this upstream. */
  readonly names: UpstreamNames;
}

/** `/c1/squash/REPO/TAG_OR_DIGEST[?platform=OS/ARCH/VARIANT]` */
export function squashRoute(options: SquashRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const { components } = exchange;
    const selector = components.at(-1) ?? '';
    const repository = components.slice(2, -1).join('/');
    if (!isRepository(repository) || !(isDigest(selector) || isTag(selector))) {
      return refuseUnknownPath(exchange);
    }
    if (!admitsNamespace(options.names, exchange)) return;
    const platform = wantedPlatform(exchange);
    if (platform === 'none') {
      return refuse(exchange, 400, 'UNSUPPORTED', 'expected platform=OS/ARCH[/VARIANT]', NOT_STORED);
    }
    await answer(options, exchange, { repository, selector, platform });
  };
}

async function answer(
  options: SquashRouteOptions,
  exchange: RequestContext,
  asked: { repository: string; selector: string; platform: Platform | undefined },
): Promise<void> {
  const { authorization } = exchange.request.headers;
  const image = await options.resolver.resolve({ ...asked, authorization }, exchange.signal);
  if ('kind' in image) {
    const message = `the registry answers ${image.status} for this image`;
    return refuse(exchange, image.status, 'DENIED', message, { ...image.headers, ...NOT_STORED });
  }
  const { repository, selector } = asked;
  const named = isDigest(selector)
    ? { tag: undefined, digest: selector }
    : { tag: selector, digest: image.digest };
  const base = repository.split('/').at(-1) ?? repository;
  await answerDerived(options, exchange, {
    image,
    recipe: squashRecipe(options.registry, repository, named),
    mediaType: 'application/x-tar',
    fileName: `${base}-${squashedTag(named.tag, named.digest)}.tar`,
  });
}

/** `?platform=`; `none` for what is no platform. */
export function wantedPlatform({ query }: RequestContext): Platform | 'none' | undefined {
  const given = query.get('platform');
  try {
    return given === null ? undefined : parsePlatform(given);
  } catch (error) {
    if (isQuayctlError(error, 'usage')) return 'none';
    throw error;
  }
}
