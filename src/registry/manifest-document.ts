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
 * The manifest in a 200, bounded, its digest checked against the one that was asked for. Docker-Content-Digest is not
 * looked at: proxies keep it of another time, and where a tag was asked for nothing stands behind it.
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
  const { selector } = wanted;
  if (isDigest(selector) && selector !== digest) {
    throw new QuayctlError(
      'verification',
      `the manifest of ${name} hashes to ${digest}, not to ${selector}`,
      {
        hint: `${url.host} gave another document than was asked for; nothing of it was used`,
      },
    );
  }
  // A proxy may have added the type a second time, in the same field.
  const mediaType = (headerOf(answer, 'content-type') ?? '').split(/[;,]/, 1)[0]?.trim() ?? '';
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}
