import { isQuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import { storedAci } from '../image/aci.ts';
import { formatAppcName, type AppcName } from '../image/appc-name.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { formatReference, repositoryName, type ImageReference } from '../image/reference.ts';
import type { Store } from '../store/store.ts';
import type { Listener } from './events.ts';
import type { BlobTools } from './fetch-blob.ts';
import { Pace } from './ledger.ts';
import { keepSeeding, seedBlobs } from './seed.ts';
import { Seeds } from './seeds.ts';
import { TorrentFinder } from './torrents.ts';
import type { FetchRules, FetchWorld, World } from './world.ts';

/** A service that was down, or had no torrent yet, is asked again after so long. */
const RETRY_MS = 5 * 60_000;

/** Opens what a reference's registry needs; the swarm and the store are the same for all. */
export interface Worlds {
  readonly store: Store;
  of(reference: ImageReference): Promise<World>;
  /** What an ACI's place needs: that of its torrent. */
  readonly ofAci: (name: AppcName, signal: AbortSignal) => Promise<FetchWorld>;
}

interface SeedStoreRequest {
  readonly worlds: Worlds;
  readonly rules: FetchRules;
  readonly durationMs: number | undefined;
  readonly listener: Listener;
}

/**
 * Seeds everything that the store holds, and picks up what other processes add to it or remove from it.
 * @throws QuayctlError `port`, `store`
 */
export async function seedStore(request: SeedStoreRequest, signal: AbortSignal): Promise<void> {
  const { worlds, listener, durationMs } = request;
  const started = Date.now();
  const seeds = new Seeds();
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  const tools = new RepositoryTools(request, seeds);
  try {
    await seedImages(worlds.store, tools, seeds, both);
    const left = durationMs === undefined ? undefined : Math.max(0, durationMs - (Date.now() - started));
    const following = follow(worlds.store, tools, seeds, both);
    await Promise.race([keepSeeding(seeds, left, { listener }, signal), following]);
    over.abort();
    await following;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    over.abort();
    await seeds.close();
  }
}

/** Seeds anew at every change of the store, and now and then what was refused; one round after the other. */
async function follow(
  store: Store,
  tools: RepositoryTools,
  seeds: Seeds,
  signal: AbortSignal,
): Promise<void> {
  let rounds = Promise.resolve();
  const round = (): Promise<void> => (rounds = rounds.then(() => seedImages(store, tools, seeds, signal)));
  const retry = async (): Promise<void> => {
    for (;;) {
      await delay(RETRY_MS, signal);
      tools.forgetRefusals();
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

async function seedImages(
  store: Store,
  tools: RepositoryTools,
  seeds: Seeds,
  signal: AbortSignal,
): Promise<void> {
  const held = new Set<string>();
  for (const image of await store.listImages()) {
    const blobs = await store.heldBlobs(image);
    for (const { digest } of blobs) held.add(digest);
    try {
      const aci = storedAci(image, blobs);
      const unasked = tools.unasked(image.reference, aci === undefined ? blobs : [aci.aci]);
      if (unasked.length === 0) continue;
      const place = aci === undefined ? tools.of(image.reference) : tools.ofAci(aci.name, signal);
      await seedBlobs(unasked, await place, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error) || error.code === 'port') throw error;
      tools.warn(`not seeding ${formatReference(image.reference)}: ${error.message}`);
    }
  }
  for (const digest of seeds.digests()) if (!held.has(digest)) await seeds.drop(digest);
}

/** One finder for each repository, and for each ACI; what had no torrent is not asked for at every change of the store. */
class RepositoryTools {
  readonly #request: SeedStoreRequest;
  readonly #seeds: Seeds;
  readonly #tools = new Map<string, Promise<BlobTools>>();
  readonly #asked = new Set<string>();

  constructor(request: SeedStoreRequest, seeds: Seeds) {
    this.#request = request;
    this.#seeds = seeds;
  }

  of(reference: ImageReference): Promise<BlobTools> {
    return this.#kept(repositoryName(reference), () => this.#request.worlds.of(reference));
  }

  ofAci(name: AppcName, signal: AbortSignal): Promise<BlobTools> {
    return this.#kept(formatAppcName(name), () => this.#request.worlds.ofAci(name, signal));
  }

  /** Refused in one repository, a blob may be had in another. */
  unasked(reference: ImageReference, blobs: readonly Descriptor[]): Descriptor[] {
    const key = ({ digest }: Descriptor): string => `${repositoryName(reference)} ${digest}`;
    const fresh = blobs.filter((blob) => !this.#asked.has(key(blob)));
    for (const blob of fresh) this.#asked.add(key(blob));
    return fresh;
  }

  forgetRefusals(): void {
    this.#asked.clear();
    this.#tools.clear();
  }

  warn(message: string): void {
    this.#request.listener({ kind: 'warning', message });
  }

  #kept(key: string, open: () => Promise<FetchWorld>): Promise<BlobTools> {
    let tools = this.#tools.get(key);
    if (tools === undefined) {
      tools = this.#with(open());
      this.#tools.set(key, tools);
    }
    return tools;
  }

  async #with(opening: Promise<FetchWorld>): Promise<BlobTools> {
    const world = await opening;
    const { rules } = this.#request;
    return { world, rules, finder: new TorrentFinder(world), seeds: this.#seeds, pace: new Pace() };
  }
}
