import { QuayctlError } from '../base/errors.ts';
import { headerOf, readBody, type HttpAnswer } from '../http/http.ts';
import { digestOf, isDigest, shortDigest, type Digest } from '../image/digest.ts';
import { MAX_MANIFEST_BYTES, type ManifestDocument } from '../image/manifest.ts';

/** What was asked for: a tag or a digest, of a repository, for errors. */
export interface WantedManifest {
  /** `quay.io/team/app` */
  readonly repository: string;
  readonly selector: string | Digest;
}

/** `quay.io/team/app:1.0` */
export function manifestName({ repository, selector }: WantedManifest): string {
  return `${repository}${isDigest(selector) ? `@${shortDigest(selector)}` : `:${selector}`}`;
}

/**
 * The manifest in a 200, bounded, its digest checked against the one asked for, else against Docker-Content-Digest.
 * @throws QuayctlError `limit`, `verification`, `unreachable` where it breaks off; the signal's reason
 */
export async function readManifestDocument(
  answer: HttpAnswer,
  url: URL,
  wanted: WantedManifest,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const name = manifestName(wanted);
  const bound = { maxBytes: MAX_MANIFEST_BYTES, url, what: `the manifest of ${name}`, signal };
  const bytes = await readBody(answer, bound);
  const digest = digestOf(bytes);
  const told = headerOf(answer, 'docker-content-digest');
  const expected = isDigest(wanted.selector) ? wanted.selector : told;
  if (expected !== undefined && expected !== digest && expected.startsWith('sha256:')) {
    const shown = isDigest(expected) ? expected : 'something else';
    throw new QuayctlError('verification', `the manifest of ${name} hashes to ${digest}, not to ${shown}`);
  }
  const mediaType = (headerOf(answer, 'content-type') ?? '').split(';')[0]?.trim() ?? '';
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}
