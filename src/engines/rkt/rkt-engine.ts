import { QuayctlError } from '../../base/errors.ts';
import type { Environment } from '../../credentials/program.ts';
import type { AciImage } from '../../image/aci.ts';
import { parsePlatform, type Platform } from '../../image/platform.ts';
import { Arrivals } from '../arrivals.ts';
import type { AciEngine, EnginePresence, FileFeed, LoadedImage, LoadOptions } from '../engine.ts';
import { withAciFile } from './aci-file.ts';
import { fetchFailure, questionFailure } from './failures.ts';
import { demandSameImage } from './identity.ts';
import { RktProgram } from './program.ts';

/** Half of a SHA-512, as `--full` prints it. */
const IMAGE_ID = /^sha512-[0-9a-f]{64}$/;

/** With one of these words rkt looks at no signature (`rkt help fetch`, --insecure-options). */
const UNSIGNED = ['image', 'all', 'all-fetch'];

/** rkt has no daemon: every question is a run of its program. Nothing is asked yet. */
export function openRkt(env: Environment, insecureOptions: string | undefined): AciEngine {
  return new RktEngine(env, insecureOptions);
}

class RktEngine implements AciEngine {
  readonly name = 'rkt';
  readonly checksSignatures: boolean;
  readonly #rkt: RktProgram;
  readonly #flags: readonly string[];

  constructor(env: Environment, insecureOptions: string | undefined) {
    this.#rkt = new RktProgram(env);
    this.checksSignatures = !insecureOptions?.split(',').some((option) => UNSIGNED.includes(option));
    this.#flags = insecureOptions === undefined ? [] : [`--insecure-options=${insecureOptions}`];
  }

  async platform(signal: AbortSignal): Promise<Platform> {
    const answer = await this.#rkt.run(['version'], signal);
    const [, platform] = /^Go OS\/Arch: (\S+)$/m.exec(answer.stdout) ?? [];
    if (answer.exitCode !== 0 || platform === undefined) throw questionFailure('version', answer);
    return parsePlatform(platform);
  }

  /** By image ID, which the torrent states: an ACI is there as a whole, or not. */
  async presence({ imageId }: AciImage, signal: AbortSignal): Promise<EnginePresence> {
    const isHere = imageId !== undefined && (await this.#imageIds(signal)).has(imageId);
    return { image: isHere, layers: [isHere] };
  }

  async load(image: AciImage, feed: FileFeed, options: LoadOptions): Promise<LoadedImage> {
    const { signal, presence, onProgress } = options;
    const { imageId } = image;
    if (presence.image && imageId !== undefined) {
      await demandSameImage(this.#rkt, imageId, image.name, signal);
      return loaded(imageId);
    }
    const blobs = [image.aci, ...(image.signature === undefined ? [] : [image.signature])];
    await new Arrivals(blobs, 0, feed).all(signal);
    const layer = image.aci.digest;
    onProgress?.({ layer, done: false });
    const before = await this.#imageIds(signal);
    const id = await withAciFile(image, feed, (path) => this.#fetch(image, path, options));
    try {
      if (imageId !== undefined && id !== imageId) {
        throw new QuayctlError('verification', `the image has the ID ${id}, its torrent says ${imageId}`);
      }
      await demandSameImage(this.#rkt, id, image.name, signal);
    } catch (error) {
      // What was not asked for, or not looked at, is not left behind.
      if (!before.has(id)) await this.#remove(id);
      throw error;
    }
    onProgress?.({ layer, done: true });
    return loaded(id);
  }

  /** @returns the image ID */
  async #fetch({ name }: AciImage, path: string, { signal, onMessage }: LoadOptions): Promise<string> {
    const answer = await this.#rkt.run(['fetch', ...this.#flags, '--full', path], signal, onMessage);
    const id = answer.stdout.trim();
    if (answer.exitCode === 0 && IMAGE_ID.test(id)) return id;
    throw fetchFailure(name, answer);
  }

  async #imageIds(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const args = ['image', 'list', '--full', '--no-legend', '--fields=id'];
    const answer = await this.#rkt.run(args, signal);
    if (answer.exitCode !== 0) throw questionFailure('image list', answer);
    return new Set(answer.stdout.split('\n').map((line) => line.trim()));
  }

  /** Even when a signal is why. What cannot be removed stays; the error that led here says more. */
  async #remove(id: string): Promise<void> {
    await this.#rkt.run(['image', 'rm', id], AbortSignal.timeout(10_000)).catch(() => undefined);
  }
}

function loaded(id: string): LoadedImage {
  return { id, digestRecorded: false };
}
