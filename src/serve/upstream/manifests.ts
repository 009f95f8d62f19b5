import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { codingOf, decodeBody } from '../../http/content-encoding.ts';
import { digestOf, isDigest, type Digest } from '../../image/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  parseManifest,
  type ImageIndex,
  type ImageManifest,
} from '../../image/manifest.ts';
import { MANIFEST_TYPES } from '../../image/media-types.ts';
import { discard, headerOf, isSuccess, type Upstream } from '../../upstream/upstream.ts';
import type { UpstreamAnswer } from '../../http-server/request-context.ts';

/** A manifest or index of the upstream, its digest computed and, where one was asked for, compared. */
export interface FoundManifest {
  readonly digest: Digest;
  readonly parsed: ImageManifest | ImageIndex;
}

/**
 * @param authorization of whoever asks
 * @returns the upstream's answer where it gives no manifest
 * @throws QuayctlError `verification`, `limit`, `protocol`, `unsupported`, `unreachable`
 */
export async function readManifest(
  upstream: Upstream,
  repository: string,
  selector: string,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<FoundManifest | UpstreamAnswer> {
  const resource = { kind: 'manifest', repository, selector } as const;
  const accept = MANIFEST_TYPES.join(', ');
  const answer = await upstream.ask({ method: 'GET', resource, accept, authorization, follow: true }, signal);
  if (!isSuccess(answer.status)) {
    discard(answer);
    return answer;
  }
  const what = `${repository}${isDigest(selector) ? '@' : ':'}${selector}`;
  const sent = await bodyOf(answer, what);
  // Some registries compress what was asked for as it is.
  const coding = codingOf(headerOf(answer, 'content-encoding'));
  const bytes = coding === undefined ? sent : await decodeBody(sent, coding, MAX_MANIFEST_BYTES);
  if (bytes === undefined) throw tooLong(what);
  const digest = digestOf(bytes);
  if (isDigest(selector) && digest !== selector)
    throw new QuayctlError('verification', `upstream: the content of ${what} has another digest`);
  const [type] = (headerOf(answer, 'content-type') ?? '').split(';');
  return { digest, parsed: parseManifest(bytes, type?.trim()) };
}

async function bodyOf({ body }: UpstreamAnswer, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > MAX_MANIFEST_BYTES) throw tooLong(what);
      chunks.push(chunk);
    }
  } catch (error) {
    throw isQuayctlError(error)
      ? error
      : new QuayctlError('unreachable', `${what} broke off`, { cause: error });
  }
  return Buffer.concat(chunks, length);
}

function tooLong(what: string): QuayctlError {
  return new QuayctlError('limit', `the manifest of ${what} is too long`);
}
