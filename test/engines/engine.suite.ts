import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../../src/base/errors.ts';
import type { Engine, LoadedImage, LoadOptions } from '../../src/engines/engine.ts';
import type { Digest } from '../../src/image/digest.ts';
import type { RunnableImage } from '../../src/image/manifest.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import type { LayerSpec } from '../helpers/layers.ts';
import type { Output, Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { file, runnable, shellLayer, TestFeed } from './engine-images.ts';

/** A real engine as the suite sees it. */
export interface EngineUnderTest {
  open(): Promise<Engine>;
  /** The engine's own command line: what users would type. */
  command(...args: readonly string[]): Promise<Output>;
  /** Whether the digest of the registry is recorded without asking the registry. */
  readonly recordsDigest: boolean;
  /** Whether it compares layers with the config's diff IDs; the digests of the blobs are the store's business. */
  readonly checksDiffIds: boolean;
  /** What `run` needs besides in the surroundings of tests. */
  readonly runFlags: readonly string[];
}

const MB = 1_000_000;

/** What holds for every engine. */
export function engineSuite(
  label: string,
  skip: string | false,
  start: (scope: Scope) => Promise<EngineUnderTest>,
): void {
  let under: EngineUnderTest;
  const ends: (() => void | Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  before(
    async () => {
      if (skip === false) under = await start({ after: (end) => void ends.push(end) });
    },
    { timeout: 120_000 },
  );
  const holds = (name: string, body: (t: TestContext) => Promise<void>): void => {
    test(`${label}: ${name}`, { skip, timeout: 120_000 }, body);
  };

  holds('its platform is this machine', async () => {
    const engine = await under.open();
    const platform = await engine.platform(never());
    assert.deepEqual(platform, {
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    });
  });

  for (const format of ['oci', 'docker'] as const) {
    holds(`a small image gets its name and keeps its ID (${format})`, async (t) => {
      const layout = await newLayout(t);
      const built = await layout.addImage({
        format,
        layers: [{ entries: [file('greeting', `hello ${format}`)] }],
      });
      const name = `quay.example/team/small:${format}`;
      const loaded = await load(await runnable(layout, built, name), new TestFeed(layout));
      assert.deepEqual(loaded.names, [name]);
      assert.equal(loaded.id, built.config.digest);
      assert.equal(await imageId(name), built.config.digest);
      assert.equal(loaded.digestRecorded, under.recordsDigest);
    });
  }

  holds(
    'a container sees the files of odd layers: links, whiteouts, opaque directories, duplicates',
    async (t) => {
      const layout = await newLayout(t);
      const twice: LayerSpec = { entries: [file('twice/again', 'again'), file('gone', 'gone')] };
      const built = await layout.addImage({
        layers: [
          shellLayer(),
          {
            entries: [
              file('kept/one', 'one'),
              { name: 'kept/link', type: 'link', linkname: 'kept/one' },
              { name: 'kept/symbolic', type: 'symlink', linkname: 'one' },
              file('opaque/below', 'below'),
            ],
          },
          twice,
          { entries: [] },
          { entries: [file('.wh.gone', ''), file('opaque/.wh..wh..opq', ''), file('opaque/above', 'above')] },
          twice,
          { entries: [file('.wh.gone', '')] },
        ],
        run: { Cmd: ['/bin/sh', '-c', LOOK] },
      });
      const name = 'quay.example/team/odd:1';
      await load(await runnable(layout, built, name), new TestFeed(layout));
      assert.equal(await runIt(name), 'one=one linked symbolic=one opaque=/opaque/above twice=again gone=no');
    },
  );

  holds('forty small layers are one image', async (t) => {
    const layout = await newLayout(t);
    const layers = Array.from({ length: 40 }, (_, at) => ({ entries: [file(`file-${at}`, String(at))] }));
    const built = await layout.addImage({
      layers: [shellLayer(), ...layers],
      run: { Cmd: ['/bin/sh', '-c', 'set -- /file-*; echo $#'] },
    });
    const name = 'quay.example/team/many:40';
    await load(await runnable(layout, built, name), new TestFeed(layout));
    assert.equal(await runIt(name), '40');
  });

  for (const size of [1000, 9 * MB]) {
    holds(`zstd and plain layers load (${size} bytes each)`, async (t) => {
      const layout = await newLayout(t);
      const built = await layout.addImage({
        layers: [
          { ...randomLayer(size, `zstd-1-${size}`), compression: 'zstd' },
          { ...randomLayer(size, `plain-${size}`), compression: 'none' },
          { ...shellLayer(), compression: 'zstd' },
        ],
        run: { Cmd: ['/bin/sh', '-c', 'echo /data/*'] },
      });
      const name = `quay.example/team/zstd:${size}`;
      await load(await runnable(layout, built, name), new TestFeed(layout));
      assert.equal(await runIt(name), `/data/plain-${size} /data/zstd-1-${size}`);
    });
  }

  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    holds(`one large layer is an image (${compression})`, async (t) => {
      const layout = await newLayout(t);
      const built = await layout.addImage({
        layers: [{ ...randomLayer(9 * MB, `flat-${compression}`), compression }],
      });
      const name = `quay.example/team/flat:${compression}`;
      await load(await runnable(layout, built, name), new TestFeed(layout));
      assert.equal(await imageId(name), built.config.digest);
      await leavesNothing(() => Promise.resolve());
    });
  }

  holds('an image of an index loads; without the other platforms', async (t) => {
    const layout = await newLayout(t);
    const { index, images } = await layout.addIndex([
      { layers: [{ entries: [file('here', 'here')] }] },
      { layers: [{ entries: [file('there', 'there')] }], architecture: 's390x' },
    ]);
    const [built] = images;
    assert.ok(built);
    const name = 'quay.example/team/platforms:1';
    const loaded = await load(await runnable(layout, built, name, index), new TestFeed(layout));
    assert.equal(await imageId(name), built.config.digest);
    assert.equal(loaded.digestRecorded, under.recordsDigest);
  });

  holds(
    'layers that are there are neither waited for nor sent, and a whole image only gets its name',
    async (t) => {
      const layout = await newLayout(t);
      const shared = ['one', 'two', 'three'].map((seed) => randomLayer(2 * MB, `shared-${seed}`));
      const first = await layout.addImage({ layers: [...shared, randomLayer(MB, 'first')] });
      const second = await layout.addImage({ layers: [...shared, randomLayer(MB, 'second')] });
      const image = await runnable(layout, second, 'quay.example/team/shared:second');
      await load(await runnable(layout, first, 'quay.example/team/shared:first'), new TestFeed(layout));

      const engine = await under.open();
      const presence = await engine.presence(image, never());
      assert.deepEqual(presence, { image: false, layers: [true, true, true, false] });
      const feed = new TestFeed(
        layout,
        image.manifest.layers.slice(0, 3).map(({ digest }) => digest),
      );
      await engine.load(image, feed, options(image, { presence }));
      assert.deepEqual(feed.streamed, [image.manifest.layers[3]?.digest]);

      const whole = await engine.presence(image, never());
      assert.deepEqual(whole, { image: true, layers: [true, true, true, true] });
      const unread = new TestFeed(layout);
      const names = ['quay.example/team/shared:other', 'docker.io/library/shared:third'];
      await engine.load(image, unread, options(image, { presence: whole, names }));
      assert.deepEqual(unread.streamed, []);
      for (const name of names) assert.equal(await imageId(name), second.config.digest);
    },
  );

  holds('early layers are taken while later ones still arrive', async (t) => {
    const layout = await newLayout(t);
    const image = await bigImage(layout, 'early');
    const digests = image.manifest.layers.map(({ digest }) => digest);
    const feed = new TestFeed(layout, digests);
    const done = load(image, feed);
    for (const digest of digests) {
      const taken = feed.whenStreamed(digest);
      feed.arrive(digest);
      await Promise.race([taken, done]);
    }
    await done;
    assert.deepEqual(feed.streamed, digests);
  });

  holds('progress names every layer', async (t) => {
    const layout = await newLayout(t);
    const image = await bigImage(layout, 'progress');
    const begun = new Set<Digest>();
    const ended = new Set<Digest>();
    await load(image, new TestFeed(layout), {
      onProgress: ({ layer, done }) => (done ? ended : begun).add(layer),
    });
    const digests = image.manifest.layers.map(({ digest }) => digest);
    assert.deepEqual([...begun], digests);
    assert.deepEqual([...ended], digests);
  });

  holds('a reference without a tag loads and gets no tag', async (t) => {
    const layout = await newLayout(t);
    const built = await layout.addImage({ layers: [{ entries: [file('by', 'digest')] }] });
    const name = `quay.example/team/bydigest@${built.manifest.digest}`;
    await load(await runnable(layout, built, name), new TestFeed(layout));
    const { stdout } = await under.command(
      'image',
      'inspect',
      '--format',
      '{{.Id}} {{.RepoTags}}',
      built.config.digest,
    );
    assert.equal(stdout.trim().replace(/^sha256:/, ''), `${built.config.digest.slice(7)} []`);
  });

  holds('a layer that is not what the config names is refused, and nothing is left', async (t) => {
    if (!under.checksDiffIds) return t.diagnostic('this engine does not look');
    for (const wrong of [0, 2]) {
      const layout = await newLayout(t);
      const image = await bigImage(layout, `wrong-${wrong}`, wrong);
      await leavesNothing(() =>
        assert.rejects(load(image, new TestFeed(layout)), (error) => isQuayctlError(error, 'verification')),
      );
    }
  });

  holds('a blob that never comes ends the load with its own error, and nothing is left', async (t) => {
    const layout = await newLayout(t);
    const image = await bigImage(layout, 'never');
    const last = image.manifest.layers.at(-1)?.digest;
    assert.ok(last);
    const feed = new TestFeed(layout, [last]);
    const failure = new QuayctlError('unreachable', 'the registry is gone');
    await leavesNothing(async () => {
      const loading = load(image, feed);
      await Promise.race([feed.whenStreamed(image.manifest.layers[2]?.digest ?? last), loading]);
      feed.fail(last, failure);
      await assert.rejects(loading, (error) => error === failure);
    });
  });

  holds('an abort ends the load within seconds, and nothing is left', async (t) => {
    const layout = await newLayout(t);
    const image = await bigImage(layout, 'abort');
    const digests = image.manifest.layers.map(({ digest }) => digest);
    // Not after the last one: then the engine may have the image whole before it hears of the abort.
    for (const [at, digest] of digests.slice(0, -1).entries()) {
      await leavesNothing(async () => {
        const stop = new AbortController();
        const feed = new TestFeed(layout, digests.slice(at + 1));
        const loading = load(image, feed, { signal: stop.signal });
        loading.catch(() => undefined);
        await Promise.race([feed.whenStreamed(digest), loading]);
        await sleep(50);
        stop.abort(new QuayctlError('interrupted', 'SIGINT'));
        const begin = performance.now();
        await assert.rejects(loading, (error) => isQuayctlError(error, 'interrupted'));
        assert.ok(performance.now() - begin < 10_000);
      });
    }
  });

  holds('two loads of one image at the same time both succeed', async (t) => {
    const layout = await newLayout(t);
    const image = await bigImage(layout, 'both');
    await Promise.all([load(image, new TestFeed(layout)), load(image, new TestFeed(layout))]);
    assert.equal(await imageId('quay.example/team/both:1'), image.manifest.config.digest);
  });

  async function load(
    image: RunnableImage,
    feed: TestFeed,
    more: Partial<LoadOptions> = {},
  ): Promise<LoadedImage> {
    return (await under.open()).load(image, feed, options(image, more));
  }

  /** The image that a name stands for, as the engine's own command tells it. */
  async function imageId(name: string): Promise<string> {
    const { stdout, stderr } = await under.command('image', 'inspect', '--format', '{{.Id}}', name);
    assert.notEqual(stdout, '', stderr);
    return `sha256:${stdout.trim().replace(/^sha256:/, '')}`;
  }

  async function runIt(name: string): Promise<string> {
    const { stdout, stderr } = await under.command('run', '--rm', '--network=none', ...under.runFlags, name);
    assert.notEqual(stdout, '', stderr);
    return stdout.trim();
  }

  /** Images, named or not, are the same after as before; temporary ones are none. */
  async function leavesNothing(work: () => Promise<unknown>): Promise<void> {
    const images = async (): Promise<string[]> => {
      const { stdout } = await under.command(
        'images',
        '--all',
        '--no-trunc',
        '--format',
        '{{.ID}} {{.Repository}}',
      );
      return stdout.trim().split('\n').sort();
    };
    const earlier = await images();
    await work();
    assert.deepEqual(await images(), earlier);
    const { stdout } = await under.command(
      'images',
      '--all',
      '--quiet',
      '--filter',
      'label=io.quayctl.temporary',
    );
    assert.equal(stdout.trim(), '');
  }
}

const LOOK = `
read one < /kept/one; read symbolic < /kept/symbolic; read again < /twice/again
[ /kept/one -ef /kept/link ] && linked=linked
[ -e /gone ] && gone=yes || gone=no
echo one=$one $linked symbolic=$symbolic opaque=$(echo /opaque/*) twice=$again gone=$gone`;

/** Four layers large enough that they are not simply sent in one piece. @param wrong the layer whose diff ID is another one */
async function bigImage(layout: TestLayout, seed: string, wrong?: number): Promise<RunnableImage> {
  const sizes = [9 * MB, 5 * MB, 5 * MB, 5 * MB];
  const built = await layout.addImage({
    layers: sizes.map((size, at) => randomLayer(size, `${seed}-${at}`)),
  });
  const name = `quay.example/team/${seed}:1`;
  if (wrong === undefined) return runnable(layout, built, name);
  const config = JSON.parse((await layout.blob(built.config.digest)).toString()) as {
    rootfs: { diff_ids: string[] };
  };
  config.rootfs.diff_ids[wrong] = `sha256:${'0'.repeat(64)}`;
  const manifest = JSON.parse((await layout.blob(built.manifest.digest)).toString()) as object;
  const described = await layout.addJson(built.config.mediaType, config);
  const changed = await layout.addJson(built.manifest.mediaType, { ...manifest, config: described });
  return runnable(layout, { manifest: changed }, name);
}

async function newLayout(t: TestContext): Promise<TestLayout> {
  return TestLayout.create(await tempDirectory(t, 'layout'));
}

function options(image: RunnableImage, more: Partial<LoadOptions>): LoadOptions {
  const { registry, repository, tag, digest } = image.reference;
  return {
    names: [`${registry}/${repository}${tag === undefined ? `@${digest ?? ''}` : `:${tag}`}`],
    recordDigest: false,
    presence: { image: false, layers: image.manifest.layers.map(() => false) },
    signal: never(),
    ...more,
  };
}

function never(): AbortSignal {
  return new AbortController().signal;
}
