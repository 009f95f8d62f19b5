import { isDigest } from '../../image/digest.ts';
import { squashedTag } from '../../image/squashed.ts';
import type { SourceResolver } from '../derived/resolve-source.ts';
import type { RequestContext, Route } from '../../http-server/request-context.ts';
import { squashRecipe } from '../squash/squash-recipe.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { askedImage, readableImage } from './asked-image.ts';
import { answerDerived, type DerivedAnswerOptions } from './derived-answer.ts';

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
    const asked = askedImage(exchange, options.names);
    if (asked === undefined) return;
    const image = await readableImage(options.resolver, exchange, asked);
    if (image === undefined) return;
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
  };
}
