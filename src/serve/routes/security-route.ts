import { isQuayctlError } from '../../base/errors.ts';
import { isDigest } from '../../image/digest.ts';
import { unrunnableReason } from '../../image/manifest.ts';
import type { Platform } from '../../image/platform.ts';
import { isRepository, isTag } from '../../http-server/path.ts';
import {
  refuse,
  send,
  sendJson,
  type RequestContext,
  type Route,
} from '../../http-server/request-context.ts';
import { claimantsOf } from '../claimants.ts';
import type { SourceResolver } from '../derived/resolve-source.ts';
import type { ImageReports } from '../security/image-reports.ts';
import type { ReportWatch } from '../security/report-watch.ts';
import type { Secret } from '../torrents/secret.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { admitsNamespace, refuseUnknownPath } from './quay-api.ts';
import { wantedPlatform } from './squash-route.ts';
import { NOT_STORED, waitFor } from './waiting.ts';

export interface SecurityRouteOptions {
  /** Undefined without `--clair`. */
  readonly reports: ImageReports | undefined;
  /** Undefined without `--notify`. */
  readonly watch: ReportWatch | undefined;
  /** What callers mean, and may read. */
  readonly resolver: SourceResolver;
  readonly names: UpstreamNames;
  readonly secret: Secret;
}

/**
 * `/c1/security/REPO/TAG_OR_DIGEST[?platform=OS/ARCH/VARIANT][&wait=SECONDS]`: the security report of an image, for
 * those who may pull it; 202 with Retry-After while it is being made.
 */
export function securityRoute(options: SecurityRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const { components } = exchange;
    const selector = components.at(-1) ?? '';
    const repository = components.slice(2, -1).join('/');
    if (components.some((each) => each.includes('/'))) return refuseUnknownPath(exchange);
    if (!isRepository(repository) || !(isDigest(selector) || isTag(selector))) {
      return refuseUnknownPath(exchange);
    }
    if (!admitsNamespace(options.names, exchange)) return;
    const platform = wantedPlatform(exchange);
    if (platform === 'none') {
      return refuse(exchange, 400, 'UNSUPPORTED', 'expected platform=OS/ARCH[/VARIANT]', NOT_STORED);
    }
    if (options.reports === undefined) {
      return refuse(exchange, 404, 'UNSUPPORTED', 'it was started without --clair', NOT_STORED);
    }
    await answer(options, options.reports, exchange, { repository, selector, platform });
  };
}

async function answer(
  { resolver, watch, secret }: SecurityRouteOptions,
  reports: ImageReports,
  exchange: RequestContext,
  asked: { repository: string; selector: string; platform: Platform | undefined },
): Promise<void> {
  const { authorization } = exchange.request.headers;
  const image = await resolver.resolve({ ...asked, authorization }, exchange.signal);
  if ('kind' in image) {
    const message = `the registry answers ${image.status} for this image`;
    return refuse(exchange, image.status, 'DENIED', message, { ...image.headers, ...NOT_STORED });
  }
  const reason = unrunnableReason(image.manifest);
  if (reason !== undefined) return refuse(exchange, 404, 'UNSUPPORTED', reason, NOT_STORED);
  const { repository, digest, manifest } = image;
  const wanted = { repository, digest, layers: manifest.layers.map((layer) => layer.digest) };
  try {
    const found = reports.report(wanted, claimantsOf(exchange, secret));
    const made = 'done' in found ? await waitFor(found.done, exchange) : found;
    if (made === undefined) {
      const step = 'step' in found ? found.step() : '';
      return sendJson(exchange, 202, { step }, { ...NOT_STORED, 'retry-after': '1' });
    }
    send(exchange, 200, { ...NOT_STORED, 'content-type': 'application/json' }, made.bytes);
    await watch?.noteReport(wanted, made, isDigest(asked.selector) ? undefined : asked.selector);
  } catch (error) {
    if (!isQuayctlError(error, 'no-report', 'unauthorized', 'rate-limited')) throw error;
    // That Clair refuses the service is no refusal of the caller.
    const status = error.code === 'no-report' ? 404 : 502;
    refuse(exchange, status, status === 404 ? 'UNSUPPORTED' : 'UNAVAILABLE', error.message, NOT_STORED);
  }
}
