import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Engine, LoadedImage, LoadOptions } from '../../src/engines/engine.ts';
import type { RunnableImage } from '../../src/image/manifest.ts';
import type { Output } from '../helpers/processes.ts';
import { fourLayers, layerDigests, loadOptions, newLayout, TestFeed } from './engine-images.ts';
import type { AnyEngine, SampleImage } from './every-engine.suite.ts';

/** A real engine as the suite sees it. */
export interface EngineUnderTest {
  open(): Promise<Engine>;
  /** The engine's own command line: what users would type. */
  command(...args: readonly string[]): Promise<Output>;
  /** What the engine calls an image. */
  idOf(image: RunnableImage): string;
  /** Whether the digest of the registry is recorded without asking the registry. */
  readonly recordsDigest: boolean;
  /** Whether it compares layers with the config's diff IDs; the digests of the blobs are the store's business. */
  readonly checksDiffIds: boolean;
  /** What `run` needs besides in the surroundings of tests. */
  readonly runFlags: readonly string[];
}

/** An engine with the questions that the suite asks of it, by its own command line. */
export class Examined implements AnyEngine<RunnableImage> {
  readonly #under: EngineUnderTest;

  constructor(under: EngineUnderTest) {
    this.#under = under;
  }

  get recordsDigest(): boolean {
    return this.#under.recordsDigest;
  }

  get checksDiffIds(): boolean {
    return this.#under.checksDiffIds;
  }

  idOf(image: RunnableImage): string {
    return this.#under.idOf(image);
  }

  open(): Promise<Engine> {
    return this.#under.open();
  }

  command(...args: readonly string[]): Promise<Output> {
    return this.#under.command(...args);
  }

  async load(image: RunnableImage, feed: TestFeed, more: Partial<LoadOptions> = {}): Promise<LoadedImage> {
    return (await this.open()).load(image, feed, loadOptions(image, more));
  }

  async sample(t: TestContext, seed: string): Promise<SampleImage<RunnableImage>> {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, seed);
    return {
      image,
      id: this.idOf(image),
      name: `quay.example/team/${seed}:1`,
      blobs: layerDigests(image),
      feed: (held) => new TestFeed(layout, held),
      options: (more) => loadOptions(image, more),
    };
  }

  /** The image that a name stands for. */
  async imageId(name: string): Promise<string> {
    const { stdout, stderr } = await this.command('image', 'inspect', '--format', '{{.Id}}', name);
    assert.notEqual(stdout, '', stderr);
    return `sha256:${stdout.trim().replace(/^sha256:/, '')}`;
  }

  /** What a container of the image prints. */
  async runIt(name: string): Promise<string> {
    const flags = ['--rm', '--network=none', ...this.#under.runFlags];
    const { stdout, stderr } = await this.command('run', ...flags, name);
    assert.notEqual(stdout, '', stderr);
    return stdout.trim();
  }

  /** Images, named or not, are the same after as before; temporary ones are none. */
  async leavesNothing(work: () => Promise<unknown>): Promise<void> {
    const images = async (): Promise<string[]> => {
      const format = ['--no-trunc', '--format', '{{.ID}} {{.Repository}}'];
      return (await this.command('images', '--all', ...format)).stdout.trim().split('\n').sort();
    };
    const earlier = await images();
    await work();
    assert.deepEqual(await images(), earlier);
    const filter = ['--filter', 'label=io.quayctl.temporary'];
    assert.equal((await this.command('images', '--all', '--quiet', ...filter)).stdout.trim(), '');
  }
}

/** Registers a test of the suite. */
export type Holds = (name: string, body: (engine: Examined, t: TestContext) => Promise<void>) => void;
