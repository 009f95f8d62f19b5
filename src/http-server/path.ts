import { isQuayctlError } from '../base/errors.ts';
import { isDigest, type Digest } from '../image/digest.ts';
import { parseImageReference } from '../image/reference.ts';

/** One blob of one repository. */
export interface BlobName {
  readonly repository: string;
  readonly digest: Digest;
}

/** The parts of the distribution API that are passed through, all read-only (OCI distribution-spec, "Endpoints"). */
export type Resource =
  | { readonly kind: 'base' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly selector: string }
  | ({ readonly kind: 'blob' } & BlobName);

/** Any registry will do: it only makes a complete reference of a repository or tag that is to be checked. */
const SOME_REGISTRY = 'registry.invalid';

/** True for a repository name in the distribution grammar, at most 255 characters. */
export function isRepository(text: string): boolean {
  return isReference(text, 'tag');
}

export function isTag(text: string): boolean {
  return isReference('repository', text);
}

function isReference(repository: string, tag: string): boolean {
  try {
    const parsed = parseImageReference(`${SOME_REGISTRY}/${repository}:${tag}`);
    return parsed.repository === repository && parsed.tag === tag;
  } catch (error) {
    if (isQuayctlError(error)) return false;
    throw error;
  }
}

/**
 * The components of a raw request path, each decoded on its own; `..` is never resolved. Undefined for what no route
 * could mean, `%2F` among it: no name of ours holds a slash, and a proxy in front with rules for paths must see the
 * same components as we do.
 */
export function pathComponents(rawPath: string): readonly string[] | undefined {
  if (!rawPath.startsWith('/')) return undefined;
  try {
    const components = rawPath.slice(1).split('/').map(decodeURIComponent);
    return components.some((each) => each.includes('/')) ? undefined : components;
  } catch {
    return undefined;
  }
}

/** `REPO/blobs/DIGEST`, parsed from the right: a repository may itself be called `blobs`. */
export function blobName(components: readonly string[]): BlobName | undefined {
  const digest = components.at(-1) ?? '';
  const repository = components.slice(0, -2).join('/');
  if (components.at(-2) !== 'blobs' || !isDigest(digest) || !isRepository(repository)) return undefined;
  return { repository, digest };
}

/** What a path below `/v2/` asks for. */
export function resource(components: readonly string[]): Resource | undefined {
  if (components.length === 0 || (components.length === 1 && components[0] === '')) return { kind: 'base' };
  const blob = blobName(components);
  if (blob !== undefined) return { kind: 'blob', ...blob };
  const [word, selector] = components.slice(-2);
  const repository = components.slice(0, -2).join('/');
  if (selector === undefined || !isRepository(repository)) return undefined;
  if (word === 'tags' && selector === 'list') return { kind: 'tags', repository };
  if (word !== 'manifests' || !(isDigest(selector) || isTag(selector))) return undefined;
  return { kind: 'manifest', repository, selector };
}
