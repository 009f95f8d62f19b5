import { isQuayctlError } from '../../base/errors.ts';
import { isDigest } from '../../image/digest.ts';
import { unrunnableReason } from '../../image/manifest.ts';
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
import { askedImage, readableImage, type AskedImage } from './asked-image.ts';
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
    const asked = askedImage(exchange, options.names);
    if (asked === undefined) return;
    if (options.reports === undefined) {
      return refuse(exchange, 404, 'UNSUPPORTED', 'it was started without --clair', NOT_STORED);
    }
    await answer(options, options.reports, exchange, asked);
  };
}

async function answer(
  { resolver, watch, secret }: SecurityRouteOptions,
  reports: ImageReports,
  exchange: RequestContext,
  asked: AskedImage,
): Promise<void> {
  const image = await readableImage(resolver, exchange, asked);
  if (image === undefined) return;
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
