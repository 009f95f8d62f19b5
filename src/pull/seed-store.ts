import { isQuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import { storedAci } from '../image/aci.ts';
import { formatAppcName, type AppcName } from '../image/appc-name.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { formatReference, repositoryName, type ImageReference } from '../image/reference.ts';
import { squashedOfArtifact } from '../image/squashed.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { StoredImage } from '../store/store-index.ts';
import { aciOrigin } from './pull-aci.ts';
import { repositoryOrigin, type PullContext, type PullRules, type SharedServices } from './pull-context.ts';
import { keepSeeding, seedBlobs } from './seed.ts';
import { SquashedSource } from './squashed-source.ts';

/** A service that was down, or had no torrent of a blob yet, is asked again after this time. */
const RETRY_MS = 5 * 60_000;

/** Opens what each repository needs; store and downloads are the same for all. */
export interface ContextOpener extends SharedServices {
  of(reference: ImageReference): Promise<PullContext>;
  /** Looks up where an ACI lies. */
  locate(name: AppcName, signal: AbortSignal): Promise<AciSource>;
}

interface SeedStoreRequest {
  readonly contexts: ContextOpener;
  readonly rules: PullRules;
  readonly durationMs: number | undefined;
}

/**
 * Seeds everything that the store holds, and picks up what other processes add to it or remove from it.
 * @throws QuayctlError `port`, `store`
 */
export async function seedStore(request: SeedStoreRequest, signal: AbortSignal): Promise<void> {
  const { contexts, durationMs } = request;
  const { seeds } = contexts.downloads;
  const started = Date.now();
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  const seeder = new StoreSeeder(request);
  try {
    await seeder.round(both);
    const left = durationMs === undefined ? undefined : Math.max(0, durationMs - (Date.now() - started));
    const following = follow(contexts, seeder, both);
    await Promise.race([keepSeeding(() => seeds.totals(), left, contexts, signal), following]);
    over.abort();
    await following;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    over.abort();
  }
}

/** Seeds anew at every change of the store, and now and then what was refused; one round after the other. */
async function follow({ store }: SharedServices, seeder: StoreSeeder, signal: AbortSignal): Promise<void> {
  let rounds = Promise.resolve();
  const round = (): Promise<void> => (rounds = rounds.then(() => seeder.round(signal)));
  const retry = async (): Promise<void> => {
    for (;;) {
      await delay(RETRY_MS, signal);
      seeder.forgetRefusals();
      await round();
    }
  };
  const watch = async (): Promise<void> => {
    for await (const _ of store.changes(signal)) await round();
  };
  try {
    await Promise.all([retry(), watch()]);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Some blobs of one stored image that come from one place. */
interface Seedable {
  readonly blobs: readonly Descriptor[];
  /** Names the place: what has the same key has the same origin. */
  readonly key: string;
  readonly open: () => Promise<BlobOrigin>;
}

/** Keeps one origin for each place; a blob that had no torrent is not asked for at every change of the store. */
class StoreSeeder {
  readonly #request: SeedStoreRequest;
  readonly #origins = new Map<string, Promise<BlobOrigin>>();
  readonly #asked = new Set<string>();

  constructor(request: SeedStoreRequest) {
    this.#request = request;
  }

  /** Seeds what is new in the store, and lets go of what is gone. @throws QuayctlError `port`; the signal's reason */
  async round(signal: AbortSignal): Promise<void> {
    const { contexts } = this.#request;
    const { store, downloads, listener } = contexts;
    const held = new Set<string>();
    for (const image of await store.listImages()) {
      const blobs = await store.heldBlobs(image);
      for (const { digest } of blobs) held.add(digest);
      try {
        const seedable = await this.#seedable(image, blobs, signal);
        const fresh = seedable.blobs.filter(({ digest }) => !this.#asked.has(`${seedable.key} ${digest}`));
        for (const { digest } of fresh) this.#asked.add(`${seedable.key} ${digest}`);
        // One limit for one store: what its gc chooses, this seed gives up in the next round.
        const yielding = { yields: true };
        if (fresh.length > 0)
          await seedBlobs(fresh, await this.#origin(seedable), contexts, signal, yielding);
      } catch (error) {
        signal.throwIfAborted();
        if (!isQuayctlError(error) || error.code === 'port') throw error;
        const message = `not seeding ${formatReference(image.reference)}: ${error.message}`;
        listener({ kind: 'warning', message });
      }
    }
    for (const digest of downloads.seeds.digests()) if (!held.has(digest)) await downloads.seeds.drop(digest);
  }

  forgetRefusals(): void {
    this.#asked.clear();
    this.#origins.clear();
  }

  /** Where the blobs of an image are asked for: refused in one repository, a blob may be had in another. */
  async #seedable(image: StoredImage, blobs: readonly Descriptor[], signal: AbortSignal): Promise<Seedable> {
    const { contexts, rules } = this.#request;
    const { reference, platform } = image;
    const aci = storedAci(image, blobs);
    if (aci !== undefined) {
      const open = async (): Promise<BlobOrigin> =>
        aciOrigin(await contexts.locate(aci.name, signal), contexts, rules);
      return { blobs: [aci.aci], key: formatAppcName(aci.name), open };
    }
    const stored = await contexts.store.findImage(reference, platform);
    const squashed = stored === undefined ? undefined : squashedOfArtifact(stored);
    if (squashed !== undefined) {
      const { file, source } = squashed;
      const open = async (): Promise<BlobOrigin> =>
        new SquashedSource(await contexts.of(reference), source).origin(rules);
      const isHeld = blobs.some(({ digest }) => digest === file.digest);
      return { blobs: isHeld ? [file] : [], key: `${repositoryName(reference)} squashed ${source}`, open };
    }
    const open = async (): Promise<BlobOrigin> => repositoryOrigin(await contexts.of(reference), rules);
    return { blobs, key: repositoryName(reference), open };
  }

  #origin({ key, open }: Seedable): Promise<BlobOrigin> {
    let origin = this.#origins.get(key);
    if (origin === undefined) {
      origin = open();
      this.#origins.set(key, origin);
    }
    return origin;
  }
}
