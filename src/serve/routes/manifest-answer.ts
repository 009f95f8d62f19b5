import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { digestOf, isDigest, type Digest } from '../../image/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../image/manifest.ts';
import { passThrough, send, type RequestContext } from '../../http-server/request-context.ts';
import type { Shares } from '../../http-server/shares.ts';
import { whenOver } from '../../http-server/when-over.ts';
import type { ManifestCache } from '../manifests/manifest-cache.ts';
import { isDenied, type Permission } from '../../upstream/permission.ts';
import { discard, headerOf, type Upstream, type UpstreamRequest } from '../../upstream/upstream.ts';
import type { Resource } from '../../http-server/path.ts';
import type { UpstreamAnswer } from '../../http-server/request-context.ts';

/** How long the upstream may take where a kept manifest could be served: no longer than a pull may stall. */
const PATIENCE_MS = 5_000;

export interface ManifestAnswerOptions {
  readonly upstream: Upstream;
  readonly kept: Pick<ManifestCache, 'find' | 'keep'>;
  /** Told what a tag means, where a HEAD said so. */
  readonly onTag: (repository: string, tag: string, digest: Digest) => void;
  /** What callers may read; remembers who was given which manifest. */
  readonly permission: Permission;
  /** Bytes of manifests in memory, until their readers have them; beyond the bound they are passed on and not kept. */
  readonly manifestBytes: Shares;
}

type ManifestName = Extract<Resource, { readonly kind: 'manifest' }>;

/**
 * A manifest from the upstream; while that does not answer, the one that was served before, to whom it was served
 * within the grace of permissions.
 */
export async function answerManifest(
  { upstream, kept, permission, manifestBytes, onTag }: ManifestAnswerOptions,
  exchange: RequestContext,
  request: UpstreamRequest & { readonly resource: ManifestName },
): Promise<void> {
  const { repository, selector } = request.resource;
  const grant = { repository, object: `manifest ${selector}`, authorization: request.authorization };
  const mayHave = permission.stands(grant) ? await kept.find(repository, selector) : undefined;
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = mayHave === undefined ? exchange.signal : AbortSignal.any([exchange.signal, patience]);
  let answer: UpstreamAnswer;
  try {
    answer = await upstream.ask(request, signal);
  } catch (error) {
    exchange.signal.throwIfAborted();
    const isGone = patience.aborted || isQuayctlError(error, 'unreachable');
    // Another question may have been answered with 403 meanwhile.
    if (mayHave === undefined || !isGone || !permission.stands(grant)) throw error;
    return sendKept(exchange, mayHave);
  }
  if (isDenied(answer.status)) permission.deny(grant);
  if (answer.status >= 500 && mayHave !== undefined && permission.stands(grant)) {
    discard(answer);
    return sendKept(exchange, mayHave);
  }
  if (answer.status !== 200) return passThrough(exchange, answer);
  permission.grant(grant);
  const named = headerOf(answer, 'docker-content-digest') ?? '';
  if (!isDigest(selector) && isDigest(named)) onTag(repository, selector, named);
  const size = Number(headerOf(answer, 'content-length'));
  const isPlain = headerOf(answer, 'content-encoding') === undefined;
  if (request.method === 'HEAD' || !isPlain || !(size <= MAX_MANIFEST_BYTES)) {
    return passThrough(exchange, answer);
  }
  const place = manifestBytes.take(exchange.site, size);
  if (place === undefined) return passThrough(exchange, answer);
  whenOver(exchange.response, place);
  const bytes = await bodyOf(answer, size);
  // What cannot be kept is served all the same.
  const mediaType = headerOf(answer, 'content-type') ?? '';
  if (!isDigest(selector) || digestOf(bytes) === selector) {
    await kept.keep(repository, selector, { mediaType, bytes }).catch(() => undefined);
  }
  send(exchange, 200, answer.headers, bytes);
}

function sendKept(
  exchange: RequestContext,
  { mediaType, bytes }: { readonly mediaType: string; readonly bytes: Uint8Array },
): void {
  const headers = {
    'content-type': mediaType,
    'docker-content-digest': digestOf(bytes),
    'docker-distribution-api-version': 'registry/2.0',
    // RFC 9111 section 4.2.4: what is served is stale.
    warning: '110 - "the upstream does not answer"',
  };
  send(exchange, 200, headers, bytes);
}

async function bodyOf({ body }: UpstreamAnswer, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > size) break;
    }
  } catch (error) {
    throw new QuayctlError('unreachable', 'the upstream broke off a manifest', { cause: error });
  }
  if (length !== size) throw new QuayctlError('unreachable', 'the upstream broke off a manifest');
  return Buffer.concat(chunks, length);
}
