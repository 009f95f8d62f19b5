import { isQuayctlError } from '../../base/errors.ts';
import { isRepository, isTag } from '../../http-server/path.ts';
import { refuse, type RequestContext } from '../../http-server/request-context.ts';
import { isDigest } from '../../image/digest.ts';
import { parsePlatform, type Platform } from '../../image/platform.ts';
import type { SourceResolver } from '../derived/resolve-source.ts';
import type { ImageName } from '../derived/source-blobs.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { admitsNamespace, refuseUnknownPath } from './quay-api.ts';
import { NOT_STORED } from './waiting.ts';

/** The image that a request is about. */
export interface AskedImage {
  readonly repository: string;
  /** A tag or a digest. */
  readonly selector: string;
  readonly platform: Platform | undefined;
}

/** `/c1/WORD/REPO/TAG_OR_DIGEST[?platform=OS/ARCH/VARIANT]`. @returns undefined where the request was refused */
export function askedImage(exchange: RequestContext, names: UpstreamNames): AskedImage | undefined {
  const { components } = exchange;
  const selector = components.at(-1) ?? '';
  const repository = components.slice(2, -1).join('/');
  const isEscaped = components.some((each) => each.includes('/'));
  if (isEscaped || !isRepository(repository) || !(isDigest(selector) || isTag(selector))) {
    refuseUnknownPath(exchange);
    return undefined;
  }
  if (!admitsNamespace(names, exchange)) return undefined;
  const platform = wantedPlatform(exchange);
  if (platform !== 'invalid') return { repository, selector, platform };
  refuse(exchange, 400, 'UNSUPPORTED', 'expected platform=OS/ARCH[/VARIANT]', NOT_STORED);
  return undefined;
}

/** What the caller means, where the caller may read it. @returns undefined where the request was refused */
export async function readableImage(
  resolver: SourceResolver,
  exchange: RequestContext,
  asked: AskedImage,
): Promise<ImageName | undefined> {
  const { authorization } = exchange.request.headers;
  const image = await resolver.resolve({ ...asked, authorization }, exchange.signal);
  if (!('kind' in image)) return image;
  const message = `the registry answers ${image.status} for this image`;
  refuse(exchange, image.status, 'DENIED', message, { ...image.headers, ...NOT_STORED });
  return undefined;
}

function wantedPlatform({ query }: RequestContext): Platform | 'invalid' | undefined {
  const given = query.get('platform');
  try {
    return given === null ? undefined : parsePlatform(given);
  } catch (error) {
    if (isQuayctlError(error, 'usage')) return 'invalid';
    throw error;
  }
}
