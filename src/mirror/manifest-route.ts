import { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { passThrough, refuse, type AnswerHeaders } from '../http-server/request-context.ts';
import { sendFile } from '../http-server/send-file.ts';
import type { Resource } from '../http-server/path.ts';
import { digestHex, digestOf, isDigest, type Digest } from '../image/digest.ts';
import { MAX_MANIFEST_BYTES } from '../image/manifest.ts';
import { isDenied, type Grant } from '../upstream/permission.ts';
import { discard, headerOf } from '../upstream/upstream.ts';
import type { UpstreamAnswer } from '../http-server/request-context.ts';
import { childrenOf, type KnownManifest } from './known-manifests.ts';
import { ANSWER_MS, type MirrorRequest } from './mirror-context.ts';
import { handOn, refuseSilent } from './refusals.ts';

type ManifestName = Extract<Resource, { readonly kind: 'manifest' }>;

/**
 * A tag is always asked of the registry, with the caller's own Authorization; so is a digest, once a minute. While the
 * registry does not answer, what a caller was given before is given again, within the grace.
 */
export async function answerManifest(request: MirrorRequest, name: ManifestName): Promise<void> {
  const { exchange, registry, form, authorization } = request;
  const { repository, selector } = name;
  const { permission, upstream } = registry.door(form);
  const grant = grantOf(repository, selector, authorization);
  const kept = keptManifest(request, name);
  if (isDigest(selector) && kept !== undefined && permission.isFresh(grant)) return sendKnown(request, kept);
  const signal = AbortSignal.any([exchange.signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    const { accept, 'if-none-match': ifNoneMatch } = exchange.request.headers;
    const { method } = exchange;
    const question = { method, resource: name, authorization, accept, ifNoneMatch, follow: true };
    const answer = await upstream.ask(question, signal);
    if (answer.status >= 500 && kept !== undefined && permission.stands(grant)) {
      discard(answer);
      return await sendKnown(request, kept, STALE);
    }
    if (answer.status !== 200) {
      discard(answer);
      if (isDenied(answer.status)) permission.deny(grant);
      return handOn(request, answer.status, answer.headers);
    }
    if (method === 'GET') return await sendKnown(request, await take(request, name, answer));
    noteHead(request, name, answer);
    return await passThrough(exchange, answer);
  } catch (error) {
    exchange.signal.throwIfAborted();
    const isSilent = signal.aborted || isQuayctlError(error, 'unreachable');
    if (!isSilent || exchange.response.headersSent) throw error;
    if (kept !== undefined && permission.stands(grant)) return sendKnown(request, kept, STALE);
    return refuseSilent(request);
  }
}

/** RFC 9111 section 5.5 of its predecessor, RFC 7234: what is served is stale. */
const STALE: AnswerHeaders = { warning: '110 - "the registry does not answer"' };

function grantOf(repository: string, selector: string, authorization: string | undefined): Grant {
  return { repository, object: `manifest ${selector}`, authorization };
}

function keptManifest(
  { registry: { manifests } }: MirrorRequest,
  name: ManifestName,
): KnownManifest | undefined {
  const { repository, selector } = name;
  const digest = isDigest(selector) ? selector : manifests.digestOfTag(repository, selector);
  return digest === undefined ? undefined : manifests.find(digest);
}

/** @throws QuayctlError `verification`, `limit`, `unreachable` */
async function take(
  request: MirrorRequest,
  { repository, selector }: ManifestName,
  answer: UpstreamAnswer,
): Promise<KnownManifest> {
  const bytes = await wholeBody(answer);
  const digest = digestOf(bytes);
  if (isDigest(selector) && selector !== digest) {
    throw new QuayctlError('verification', `the registry gave another manifest than ${selector}`);
  }
  // A proxy may have added the type a second time, in the same field.
  const mediaType = (headerOf(answer, 'content-type') ?? '').split(/[;,]/, 1)[0]?.trim() ?? '';
  const { manifests } = request.registry;
  const known = manifests.add(repository, { descriptor: { mediaType, digest, size: bytes.length }, bytes });
  granted(request, repository, [selector, digest]);
  if (!isDigest(selector)) manifests.noteTag(repository, selector, digest);
  return known;
}

function noteHead(
  request: MirrorRequest,
  { repository, selector }: ManifestName,
  answer: UpstreamAnswer,
): void {
  const digest = headerOf(answer, 'docker-content-digest') ?? '';
  if (!isDigest(digest)) return granted(request, repository, [selector]);
  if (!isDigest(selector)) request.registry.manifests.noteTag(repository, selector, digest);
  granted(request, repository, [selector, digest]);
}

/** The registry has given this caller a manifest, and so what that manifest lists. */
function granted(
  { registry, form, authorization }: MirrorRequest,
  repository: string,
  selectors: readonly (string | Digest)[],
): void {
  const { permission } = registry.door(form);
  for (const selector of selectors) permission.grant(grantOf(repository, selector, authorization));
  const known = selectors.filter(isDigest).map((digest) => registry.manifests.find(digest));
  for (const manifest of known) {
    if (manifest === undefined) continue;
    const isIndex = manifest.parsed?.kind === 'index';
    for (const { digest, size } of childrenOf(manifest)) {
      if (isIndex) permission.grant(grantOf(repository, digest, authorization));
      else permission.grant({ repository, object: digest, authorization }, size);
    }
  }
}

async function sendKnown(
  request: MirrorRequest,
  { descriptor, bytes }: KnownManifest,
  more: AnswerHeaders = {},
): Promise<void> {
  const { digest, mediaType, size } = descriptor;
  const { exchange } = request;
  if (!accepts(exchange.request.headers.accept, mediaType)) {
    return refuse(
      exchange,
      404,
      'MANIFEST_UNKNOWN',
      `it is of the type ${mediaType}, which was not asked for`,
    );
  }
  const read = (start: number, end: number): Readable =>
    Readable.from([bytes.subarray(start, end)], { objectMode: false });
  const headers = {
    'content-type': mediaType,
    'docker-content-digest': digest,
    'docker-distribution-api-version': 'registry/2.0',
    ...more,
  };
  await sendFile(exchange, { length: size, etag: digestHex(digest), read }, headers);
}

/** Engines name the types that they know; one that names none takes what there is. */
function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === '') return true;
  const types = header.split(',').map((each) => each.split(';', 1)[0]?.trim().toLowerCase());
  return types.includes('*/*') || types.includes(mediaType.toLowerCase()) || !mediaType.includes('manifest');
}

async function wholeBody({ body }: UpstreamAnswer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_MANIFEST_BYTES) break;
    }
  } catch (cause) {
    throw new QuayctlError('unreachable', 'the registry broke off a manifest', { cause });
  }
  if (length > MAX_MANIFEST_BYTES) throw new QuayctlError('limit', 'the manifest is too large');
  return Buffer.concat(chunks, length);
}
