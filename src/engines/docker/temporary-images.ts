import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Digest } from '../../image/digest.ts';
import type { DockerClient, ListedImage } from '../docker-api/client.ts';
import { TEMPORARY_LABEL } from '../prefix-config.ts';

/** A daemon that does not answer must not hold up the end of a run. Milliseconds. */
const CLEANUP_MS = 5000;
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
      this.#dropping.push(this.#client.remove(id, AbortSignal.timeout(CLEANUP_MS)).catch(() => undefined));
    }
  }

  /**
   * The image itself is in the engine and holds all its layers: now what other runs have made for the same image
   * can go too, crashed or not. Until then a crashed run's layers save this one from sending them.
   */
  succeeded(): void {
    this.#succeeded = true;
  }

  async remove(): Promise<void> {
    const signal = AbortSignal.timeout(CLEANUP_MS);
    const known = Promise.race([this.#before, delay(LIST_WAIT_MS, [], { ref: false })]);
    const others = this.#succeeded ? (await known).filter((image) => this.#isLeftover(image)) : [];
    // After a failure one may be there of which the ID was never told.
    const own = this.#succeeded
      ? []
      : (await this.#list(signal)).filter((image) => labelOf(image) === this.label);
    const ids = new Set([...this.#ids, ...[...others, ...own].map(({ id }) => id)]);
    await Promise.allSettled([
      ...this.#dropping,
      ...Array.from(ids, (id) => this.#client.remove(id, signal)),
    ]);
  }

  #list(signal: AbortSignal): Promise<readonly ListedImage[]> {
    return this.#client.list(TEMPORARY_LABEL, signal).catch(() => []);
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
