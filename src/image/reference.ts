import { DOCKER_HUB } from './docker-hub.ts';
import { QuayctlError } from '../base/errors.ts';
import { isDigest, type Digest } from './digest.ts';

/**
 * A Docker image reference, normalised: `ubuntu` is docker.io/library/ubuntu:latest.
 * Grammar: distribution/reference (`reference.go`, `regexp.go`, `normalize.go`).
 */
export interface ImageReference {
  /** Registry host as users know it, port included: `docker.io`, `quay.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/ubuntu`, `team/app`. */
  readonly repository: string;
  /** Absent only when a digest was given without a tag. */
  readonly tag?: string;
  readonly digest?: Digest;
}

/** A reference with a tag: a name that an engine can give to an image. */
export interface TaggedReference extends ImageReference {
  readonly tag: string;
}

const DEFAULT_REGISTRY = DOCKER_HUB;
/** Docker Hub's name of the version 1 days; still accepted, never printed. */
const LEGACY_DEFAULT_REGISTRY = 'index.docker.io';
const OFFICIAL_NAMESPACE = 'library/';
const DEFAULT_TAG = 'latest';

/** distribution/reference `RepositoryNameTotalLengthMax`: of the repository, the registry not counted. */
const MAX_REPOSITORY_LENGTH = 255;
/** Host (253), port (6), repository (255), tag (129), digest (135), separators; longer text cannot be one. */
const MAX_REFERENCE_LENGTH = 1024;

// domain := host [":" port]; host := domain-name | IPv4address | "[" IPv6address "]"
const DOMAIN_COMPONENT = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DOMAIN = new RegExp(
  String.raw`^(?:${DOMAIN_COMPONENT}(?:\.${DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$`,
);
// path-component := alpha-numeric [separator alpha-numeric]*; separator := "_" | "." | "__" | "-"+
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
// digest := algorithm ":" hex, at least 128 bits
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const IDENTIFIER = /^[a-f0-9]{64}$/;

/**
 * Parses what a user typed for IMAGE, with Docker's defaults filled in.
 * @throws QuayctlError `usage` for text that is no reference, `unsupported` for a digest other than SHA-256
 */
export function parseImageReference(text: string): ImageReference {
  if (text === '') throw refuse(text, 'it is empty');
  if (text.length > MAX_REFERENCE_LENGTH)
    throw refuse(text, `longer than ${MAX_REFERENCE_LENGTH} characters`);
  if (text.includes('://'))
    throw refuse(text, 'it has a scheme', 'write the reference without https:// or http://');
  if (IDENTIFIER.test(text)) {
    throw refuse(
      text,
      '64 hexadecimal digits name an image ID, not a repository',
      `for a digest: NAME@sha256:${text}`,
    );
  }
  const { registry, rest } = splitRegistry(text);
  const [name, digestText] = cut(rest, '@');
  const [path, tag] = cut(name, ':');
  const repository = isOfficial(registry, path) ? OFFICIAL_NAMESPACE + path : path;

  checkRegistry(text, registry);
  checkRepository(text, rest, path, repository);
  if (tag !== undefined && !TAG.test(tag)) {
    throw refuse(text, `tag ${show(tag)}: 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -`);
  }
  const digest = digestText === undefined ? undefined : referenceDigest(text, digestText);
  if (digest === undefined) return { registry, repository, tag: tag ?? DEFAULT_TAG };
  return tag === undefined ? { registry, repository, digest } : { registry, repository, tag, digest };
}

/** The full name, everything in it: `docker.io/library/ubuntu:22.04@sha256:...`. Parses back to the same. */
export function formatReference(reference: ImageReference): string {
  return repositoryName(reference) + suffix(reference);
}

/** As Docker prints it: without `docker.io/` and, there, without `library/`. Parses back to the same. */
export function familiarName(reference: ImageReference): string {
  const { registry, repository } = reference;
  if (registry !== DEFAULT_REGISTRY) return formatReference(reference);
  const withoutNamespace = repository.startsWith(OFFICIAL_NAMESPACE)
    ? repository.slice(OFFICIAL_NAMESPACE.length)
    : repository;
  const short = withoutNamespace.includes('/') ? repository : withoutNamespace;
  // docker.io/localhost/app: without docker.io it would be another image.
  return splitRegistry(short).rest === short ? short + suffix(reference) : formatReference(reference);
}

/** Registry and repository, no tag or digest: `docker.io/library/ubuntu`. */
export function repositoryName(reference: Pick<ImageReference, 'registry' | 'repository'>): string {
  return `${reference.registry}/${reference.repository}`;
}

/** `docker.io/library/ubuntu:22.04`: the form in which engines take and list a tag, without any digest. */
export function taggedName(reference: TaggedReference): string {
  return `${repositoryName(reference)}:${reference.tag}`;
}

/** `docker.io/library/ubuntu@sha256:...`: the form in which engines list the digests of a repository. */
export function digestName(reference: ImageReference, digest: Digest): string {
  return `${repositoryName(reference)}@${digest}`;
}

function suffix({ tag, digest }: ImageReference): string {
  return (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`);
}

/**
 * normalize.go `splitDockerDomain`: the part before the first slash is a registry when it is `localhost`, holds a
 * dot or a colon, or has upper-case letters (no repository may have any).
 */
function splitRegistry(text: string): { registry: string; rest: string } {
  const [first, rest] = cut(text, '/');
  if (rest === undefined) return { registry: DEFAULT_REGISTRY, rest: text };
  if (first === LEGACY_DEFAULT_REGISTRY) return { registry: DEFAULT_REGISTRY, rest };
  const isRegistry = first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first;
  return isRegistry ? { registry: first, rest } : { registry: DEFAULT_REGISTRY, rest: text };
}

/** docker.io/ubuntu is docker.io/library/ubuntu; no other registry has official images. */
function isOfficial(registry: string, path: string): boolean {
  return registry === DEFAULT_REGISTRY && !path.includes('/');
}

function checkRegistry(text: string, registry: string): void {
  // The grammar lets ports above 65535 and addresses like [:::] pass; nothing could connect to them.
  if (DOMAIN.test(registry) && URL.canParse(`http://${registry}/`)) return;
  throw refuse(text, 'what stands before the first / is not a registry host');
}

function checkRepository(text: string, rest: string, path: string, repository: string): void {
  if (path === '') throw refuse(text, 'it has no repository name');
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw refuse(text, `the repository name is longer than ${MAX_REPOSITORY_LENGTH} characters`);
  }
  if (path.toLowerCase() !== path) {
    throw refuse(text, 'the repository name must be lower-case', lowerCaseHint(text, rest, path));
  }
  const wrong = path.split('/').find((component) => !PATH_COMPONENT.test(component));
  if (wrong === undefined) return;
  throw refuse(
    text,
    `repository name component ${show(wrong)}: a-z and 0-9, between them one . or _, two _, or any -`,
  );
}

/** The whole reference, so that it can be typed as it stands. `Foo/Bar` has Foo for a registry for its capital alone. */
function lowerCaseHint(text: string, rest: string, path: string): string | undefined {
  const lower = path.toLowerCase();
  if (!isRepository(lower)) return undefined;
  const registry = text.slice(0, text.length - rest.length);
  const meant = /[.:]/.test(registry) ? registry : registry.toLowerCase();
  return `did you mean ${meant}${lower}${rest.slice(path.length)}?`;
}

function isRepository(path: string): boolean {
  return path.split('/').every((component) => PATH_COMPONENT.test(component));
}

function referenceDigest(text: string, digest: string): Digest {
  if (isDigest(digest)) return digest;
  if (!DIGEST.test(digest) || /^sha256:/i.test(digest)) {
    throw refuse(text, `${show(digest)} is not a digest (sha256: and 64 lower-case hexadecimal digits)`);
  }
  throw new QuayctlError('unsupported', `image ${shown(text)}: only sha256 digests are supported`);
}

/** Everything before and after the first `separator`; the second is undefined where there is none. */
function cut(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

function refuse(text: string, reason: string, hint?: string): QuayctlError {
  return new QuayctlError('usage', `not an image reference: ${shown(text)}: ${reason}`, { hint });
}

/** A user may have pasted `user:password@host/...`: nothing before an @ in front of the first slash is repeated. */
function shown(text: string): string {
  return show(text.replace(/^([a-z]+:\/\/)?[^/]*@(?=[^/]*\/)/i, '$1***@'));
}

function show(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
