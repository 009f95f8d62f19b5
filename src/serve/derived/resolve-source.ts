import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import type { Platform } from '../../image/platform.ts';
import { chooseManifest } from '../../image/walk-index.ts';
import { HANDED_ON, refused, type Permission, type Refusal } from '../../upstream/permission.ts';
import { readManifest } from '../upstream/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { ImageName } from './source-blobs.ts';

/** The platform of requests that name none, wherever the service runs, so that all replicas make the same image. */
const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };

export interface SourceQuestion {
  readonly repository: string;
  /** Tag or digest. */
  readonly selector: string;
  readonly platform: Platform | undefined;
  /** The caller's. */
  readonly authorization: string | undefined;
}

/** What somebody was told an image is; kept for when the upstream does not answer. */
const MAX_KNOWN = 500;
/** How many images are remembered: some 200 bytes each, whatever else their manifests hold. */
const MAX_KNOWN_LAYERS = 20_000;

/** The image that a caller means, if the upstream lets that caller have it: it is asked with the caller's credential. */
export class SourceResolver {
  readonly #upstream: Upstream;
  readonly #permission: Permission;
  /** The latest at the end. */
  readonly #known = new Map<string, ImageName>();
  #knownLayers = 0;

  constructor(upstream: Upstream, permission: Permission) {
    this.#upstream = upstream;
    this.#permission = permission;
  }

  /**
   * Like a blob, an image that was granted to a caller is granted again while the upstream does not answer.
   * @throws QuayctlError `not-found` for a platform that is not there, `unreachable`, `unsupported`, `protocol`, ...
   */
  async resolve(question: SourceQuestion, signal: AbortSignal): Promise<ImageName | Refusal> {
    const { repository, selector, platform, authorization } = question;
    const key = JSON.stringify([repository, selector, platform]);
    const image = await this.#ask(question, signal).catch((error: unknown) => {
      const known = this.#known.get(key);
      if (known === undefined || !isQuayctlError(error, 'unreachable')) throw error;
      return known;
    });
    if ('kind' in image) {
      this.#permission.noteRefusal(repository, authorization, image);
      return image;
    }
    const { digest } = image.manifest.config;
    const verdict = await this.#permission.mayRead({ repository, digest }, authorization, signal);
    if (verdict.kind === 'refused') return verdict;
    this.#remember(key, withoutNotes(image));
    return image;
  }

  #remember(key: string, image: ImageName): void {
    this.#forget(key);
    for (const [oldest] of this.#known) {
      const layers = this.#knownLayers + image.manifest.layers.length;
      if (this.#known.size < MAX_KNOWN && layers <= MAX_KNOWN_LAYERS) break;
      this.#forget(oldest);
    }
    this.#known.set(key, image);
    this.#knownLayers += image.manifest.layers.length;
  }

  #forget(key: string): void {
    this.#knownLayers -= this.#known.get(key)?.manifest.layers.length ?? 0;
    this.#known.delete(key);
  }

  async #ask(question: SourceQuestion, signal: AbortSignal): Promise<ImageName | Refusal> {
    const { repository, selector, platform, authorization } = question;
    try {
      const { document, manifest } = await chooseManifest(
        selector,
        () => platform ?? DEFAULT_PLATFORM,
        async (each) => {
          const found = await readManifest(this.#upstream, repository, each, authorization, signal);
          if ('parsed' in found) return found;
          if (HANDED_ON.has(found.status)) throw new HandedOn(refused(found));
          throw new QuayctlError('unreachable', `upstream: status ${found.status} for ${repository}`);
        },
      );
      return { repository, digest: document.digest, manifest };
    } catch (error) {
      if (error instanceof HandedOn) return error.refusal;
      throw error;
    }
  }
}

/** A refusal of the upstream, on its way out of the walk to the caller. */
class HandedOn extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(`the upstream answers ${refusal.status}`);
    this.refusal = refusal;
  }
}

/** Only what is read of it again: annotations may have megabytes. */
function withoutNotes({ repository, digest, manifest }: ImageName): ImageName {
  const bare = ({ mediaType, digest: of, size }: Descriptor): Descriptor => ({ mediaType, digest: of, size });
  const { kind, mediaType, config, layers, artifactType } = manifest;
  return {
    repository,
    digest,
    manifest: {
      kind,
      mediaType,
      config: bare(config),
      layers: layers.map(bare),
      ...(artifactType === undefined ? {} : { artifactType }),
    },
  };
}
