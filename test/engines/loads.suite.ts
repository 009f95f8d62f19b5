import assert from 'node:assert/strict';
import type { Digest } from '../../src/image/digest.ts';
import { parseImageReference, type TaggedReference } from '../../src/image/reference.ts';
import { randomLayer } from '../helpers/images.ts';
import type { LayerSpec } from '../helpers/layers.ts';
import {
  file,
  fourLayers,
  layerDigests,
  loadOptions,
  MB,
  NEVER,
  newLayout,
  runnable,
  shellLayer,
  TestFeed,
} from './engine-images.ts';
import type { Holds } from './engine-under-test.ts';

/** Images of every kind get into the engine whole. */
export function loads(holds: Holds): void {
  for (const format of ['oci', 'docker'] as const) {
    holds(`a small image gets its name and keeps its ID (${format})`, async (engine, t) => {
      const layout = await newLayout(t);
      const built = await layout.addImage({
        format,
        layers: [{ entries: [file('greeting', `hello ${format}`)] }],
      });
      const name = `quay.example/team/small:${format}`;
      const image = await runnable(layout, built, name);
      const loaded = await engine.load(image, new TestFeed(layout));
      assert.equal(loaded.id, engine.idOf(image));
      assert.equal(await engine.imageId(name), engine.idOf(image));
      assert.equal(loaded.digestRecorded, engine.recordsDigest);
    });
  }

  holds(
    'a container sees the files of odd layers: links, whiteouts, opaque directories, duplicates',
    async (engine, t) => {
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
      await engine.load(await runnable(layout, built, name), new TestFeed(layout));
      assert.equal(
        await engine.runIt(name),
        'one=one linked symbolic=one opaque=/opaque/above twice=again gone=no',
      );
    },
  );

  holds('forty small layers are one image', async (engine, t) => {
    const layout = await newLayout(t);
    const layers = Array.from({ length: 40 }, (_, at) => ({ entries: [file(`file-${at}`, String(at))] }));
    const built = await layout.addImage({
      layers: [shellLayer(), ...layers],
      run: { Cmd: ['/bin/sh', '-c', 'set -- /file-*; echo $#'] },
    });
    const name = 'quay.example/team/many:40';
    await engine.load(await runnable(layout, built, name), new TestFeed(layout));
    assert.equal(await engine.runIt(name), '40');
  });

  for (const size of [1000, 9 * MB]) {
    holds(`zstd and plain layers load (${size} bytes each)`, async (engine, t) => {
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
      await engine.load(await runnable(layout, built, name), new TestFeed(layout));
      assert.equal(await engine.runIt(name), `/data/plain-${size} /data/zstd-1-${size}`);
    });
  }

  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    holds(`one large layer is an image (${compression})`, async (engine, t) => {
      const layout = await newLayout(t);
      const built = await layout.addImage({
        layers: [{ ...randomLayer(9 * MB, `flat-${compression}`), compression }],
      });
      const name = `quay.example/team/flat:${compression}`;
      const image = await runnable(layout, built, name);
      await engine.load(image, new TestFeed(layout));
      assert.equal(await engine.imageId(name), engine.idOf(image));
      await engine.leavesNothing(() => Promise.resolve());
    });
  }

  holds('an image of an index loads; without the other platforms', async (engine, t) => {
    const layout = await newLayout(t);
    const { index, images } = await layout.addIndex([
      { layers: [{ entries: [file('here', 'here')] }] },
      { layers: [{ entries: [file('there', 'there')] }], architecture: 's390x' },
    ]);
    const [built] = images;
    assert.ok(built);
    const name = 'quay.example/team/platforms:1';
    const image = await runnable(layout, built, name, index);
    const loaded = await engine.load(image, new TestFeed(layout));
    assert.equal(await engine.imageId(name), engine.idOf(image));
    assert.equal(loaded.digestRecorded, engine.recordsDigest);
  });

  holds(
    'layers that are there are neither waited for nor sent, and a whole image only gets its name',
    async (engine, t) => {
      const layout = await newLayout(t);
      const shared = ['one', 'two', 'three'].map((seed) => randomLayer(2 * MB, `shared-${seed}`));
      const first = await layout.addImage({ layers: [...shared, randomLayer(MB, 'first')] });
      const second = await layout.addImage({ layers: [...shared, randomLayer(MB, 'second')] });
      const image = await runnable(layout, second, 'quay.example/team/shared:second');
      await engine.load(
        await runnable(layout, first, 'quay.example/team/shared:first'),
        new TestFeed(layout),
      );

      const opened = await engine.open();
      const presence = await opened.presence(image, NEVER);
      assert.deepEqual(presence, { image: false, layers: [true, true, true, false] });
      const feed = new TestFeed(
        layout,
        image.manifest.layers.slice(0, 3).map(({ digest }) => digest),
      );
      await opened.load(image, feed, loadOptions(image, { presence }));
      assert.deepEqual(feed.streamed, [image.manifest.layers[3]?.digest]);

      const whole = await opened.presence(image, NEVER);
      assert.deepEqual(whole, { image: true, layers: [true, true, true, true] });
      const unread = new TestFeed(layout);
      const names = ['quay.example/team/shared:other', 'docker.io/library/shared:third'];
      const references = names.map((name) => parseImageReference(name) as TaggedReference);
      await opened.load(image, unread, loadOptions(image, { presence: whole, names: references }));
      assert.deepEqual(unread.streamed, []);
      for (const name of names) assert.equal(await engine.imageId(name), engine.idOf(image));
    },
  );

  holds('early layers are taken while later ones still arrive', async (engine, t) => {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, 'early');
    const digests = layerDigests(image);
    const feed = new TestFeed(layout, digests);
    const done = engine.load(image, feed);
    for (const digest of digests) {
      const taken = feed.whenStreamed(digest);
      feed.arrive(digest);
      await Promise.race([taken, done]);
    }
    await done;
    assert.deepEqual(feed.streamed, digests);
  });

  holds('progress names every layer', async (engine, t) => {
    const layout = await newLayout(t);
    const image = await fourLayers(layout, 'progress');
    const begun = new Set<Digest>();
    const ended = new Set<Digest>();
    await engine.load(image, new TestFeed(layout), {
      onProgress: ({ layer, done }) => (done ? ended : begun).add(layer),
    });
    const digests = layerDigests(image);
    assert.deepEqual([...begun], digests);
    assert.deepEqual([...ended], digests);
  });

  holds('a reference without a tag loads and gets no tag', async (engine, t) => {
    const layout = await newLayout(t);
    const built = await layout.addImage({ layers: [{ entries: [file('by', 'digest')] }] });
    const name = `quay.example/team/bydigest@${built.manifest.digest}`;
    const image = await runnable(layout, built, name);
    const loaded = await engine.load(image, new TestFeed(layout));
    assert.equal(loaded.digestRecorded, engine.recordsDigest);
    const format = ['--format', '{{.Id}} {{json .RepoTags}} {{json .RepoDigests}}'];
    const { stdout } = await engine.command('image', 'inspect', ...format, engine.idOf(image));
    const [id = '', tags = '', digests] = stdout.trim().split(' ');
    assert.equal(`sha256:${id.replace(/^sha256:/, '')}`, engine.idOf(image));
    // Docker with containerd's store lists a name with a digest among the tags, after `docker pull`, too.
    assert.deepEqual(
      (JSON.parse(tags) as string[]).filter((tag) => tag !== name),
      [],
    );
    if (engine.recordsDigest) assert.equal(digests, JSON.stringify([name]));
  });
}

const LOOK = `
read one < /kept/one; read symbolic < /kept/symbolic; read again < /twice/again
[ /kept/one -ef /kept/link ] && linked=linked
[ -e /gone ] && gone=yes || gone=no
echo one=$one $linked symbolic=$symbolic opaque=$(echo /opaque/*) twice=$again gone=$gone`;
