import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Digest } from '../../image/digest.ts';
import type { DockerClient, ListedImage } from '../docker-api/client.ts';
import { isLost } from '../docker-api/failures.ts';
import { survivingRestarts } from '../docker-api/wait-for-daemon.ts';
import { TEMPORARY_LABEL } from '../prefix-config.ts';

/** A daemon that does not answer must not hold up the end of a run. Milliseconds. */
const CLEANUP_MS = 5000;
/** A daemon that is being restarted when the image is in it gets this long to come back. Milliseconds. */
const RESTART_MS = 20_000;
/** Listing takes some milliseconds for each image that the engine holds. What is not known by then, the next run removes. */
const LIST_WAIT_MS = 100;
/**
 * Temporary images that are older than this were left by a crash, and the next pull removes them. No load takes as
 * long.
 */
const STALE_SECONDS = 24 * 60 * 60;

/** The images without a name that one run makes, and their end: whatever happens, they are removed. */
export class TemporaryImages {
  /** `CONFIG-DIGEST/RUN` */
  readonly label: string;
  readonly #client: DockerClient;
  readonly #image: Digest;
  readonly #ids = new Set<string>();
  readonly #before: Promise<readonly ListedImage[]>;
  readonly #dropping: Promise<void>[] = [];
  #succeeded = false;
  /** Whether the engine may hold images of this run whose IDs were never told. */
  #hasUntold = false;

  constructor(client: DockerClient, image: Digest) {
    this.#client = client;
    this.#image = image;
    this.label = temporaryLabel(image);
    // Asked now, while the first layer is on its way, and not when the user waits for the end.
    this.#before = client.list(TEMPORARY_LABEL, AbortSignal.timeout(CLEANUP_MS)).catch(() => []);
  }

  /** As a Dockerfile's LABEL has it. */
  get labelText(): string {
    return `${TEMPORARY_LABEL}=${this.label}`;
  }

  add(id: string): void {
    this.#ids.add(id);
  }

  /**
   * Removes images on the way that a larger one makes superfluous, without waiting for it.
   * @param images by how many layers they have; those with fewer than `count` go
   */
  dropSmaller(images: Map<number, Digest>, count: number): void {
    for (const [smaller, id] of images) {
      if (smaller >= count) continue;
      images.delete(smaller);
      this.#ids.delete(id);
      const removed = this.#client.remove(id, AbortSignal.timeout(CLEANUP_MS));
      // An engine that is being restarted removes nothing: the end of the run tries once more.
      this.#dropping.push(removed.catch(() => void this.#ids.add(id)));
    }
  }

  /**
   * The image itself is in the engine and holds all its layers: now what other runs have made for the same image
   * can go too, crashed or not. Until then a crashed run's layers save this one from sending them.
   */
  succeeded(): void {
    this.#succeeded = true;
  }

  /** The engine went away while it made an image: it may have finished it without saying so. */
  interrupted(): void {
    this.#hasUntold = true;
  }

  /** Removes what this run has made. An engine that is just being restarted is waited for once the image is in it. */
  async remove(): Promise<void> {
    if (!this.#succeeded) return this.#removeAll(AbortSignal.timeout(CLEANUP_MS));
    const signal = AbortSignal.timeout(RESTART_MS);
    await survivingRestarts(this.#client, signal, () => this.#removeAll(signal)).catch(() => undefined);
  }

  /** @throws the last failure to reach the engine */
  async #removeAll(signal: AbortSignal): Promise<void> {
    const known = Promise.race([this.#before, delay(LIST_WAIT_MS, [], { ref: false })]);
    const others = this.#succeeded ? (await known).filter((image) => this.#isLeftover(image)) : [];
    await Promise.allSettled(this.#dropping);
    // After a failure, or a restart of the engine, one may be there of which the ID was never told.
    const listsOwn = !this.#succeeded || this.#hasUntold;
    const own = listsOwn ? (await this.#list(signal)).filter((image) => labelOf(image) === this.label) : [];
    const ids = new Set([...this.#ids, ...[...others, ...own].map(({ id }) => id)]);
    const removed = await Promise.allSettled(Array.from(ids, (id) => this.#client.remove(id, signal)));
    const lost = removed.find((end) => end.status === 'rejected' && isLost(end.reason));
    if (lost?.status !== 'rejected' || !this.#succeeded) return;
    this.#hasUntold = true;
    throw lost.reason;
  }

  async #list(signal: AbortSignal): Promise<readonly ListedImage[]> {
    try {
      return await this.#client.list(TEMPORARY_LABEL, signal);
    } catch (error) {
      if (this.#succeeded && isLost(error)) throw error;
      return [];
    }
  }

  #isLeftover(image: ListedImage): boolean {
    const ofThisImage = labelOf(image).startsWith(`${this.#image}/`);
    return ofThisImage || image.created < Date.now() / 1000 - STALE_SECONDS;
  }
}

/** Unique to a run. */
export function temporaryLabel(image: Digest): string {
  return `${image}/${randomBytes(8).toString('hex')}`;
}

function labelOf(image: ListedImage): string {
  return image.labels[TEMPORARY_LABEL] ?? '';
}
