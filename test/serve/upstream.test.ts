import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { describe, test, type TestContext } from 'node:test';
import { Http } from '../../src/http/http.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { LayoutUpstream } from '../../src/serve/upstream/layout-upstream.ts';
import { RegistryUpstream } from '../../src/upstream/registry-upstream.ts';
import { ServiceCredentialUpstream } from '../../src/upstream/service-credential-upstream.ts';
import { headerOf, type Upstream, type UpstreamRequest } from '../../src/upstream/upstream.ts';
import { randomLayer, TestLayout, type BuiltIndex } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';

interface Sample {
  readonly upstream: Upstream;
  readonly layout: TestLayout;
  readonly index: BuiltIndex;
}

const ABSENT = parseDigest(`sha256:${'0'.repeat(64)}`);
function http(t: TestContext): Http {
  const door = new Http({ env: {}, certsDirectory: '/nonexistent' });
  t.after(() => door.close());
  return door;
}

const signal = (): AbortSignal => AbortSignal.timeout(20_000);

async function sampleLayout(t: TestContext): Promise<{ layout: TestLayout; index: BuiltIndex }> {
  const layout = await TestLayout.create(await tempDirectory(t, 'upstream'));
  const index = await layout.addIndex(
    [{ layers: [randomLayer(200_000, 'a')] }, { layers: [randomLayer(10, 'b')], architecture: 's390x' }],
    'team/app:1.0',
  );
  return { layout, index };
}

async function onDisk(t: TestContext): Promise<Sample> {
  const { layout, index } = await sampleLayout(t);
  return { upstream: new LayoutUpstream(layout.directory, () => {}), layout, index };
}

async function inRegistry(t: TestContext): Promise<Sample> {
  const registry = await startRegistry(t);
  const { layout, index } = await sampleLayout(t);
  await pushImage(layout, index.index, { url: registry.url, repository: 'team/app', tag: '1.0' });
  const upstream = new RegistryUpstream(new URL(registry.url), http(t));
  return { upstream, layout, index };
}

async function ask(upstream: Upstream, request: UpstreamRequest) {
  const answer = await upstream.ask(request, signal());
  return { ...answer, bytes: await buffer(answer.body), header: (name: string) => headerOf(answer, name) };
}

/** What every upstream must do. */
function suite(name: string, skip: string | false, sample: (t: TestContext) => Promise<Sample>): void {
  describe(name, { skip }, () => {
    test('answers for its base, and lists tags', async (t) => {
      const { upstream } = await sample(t);
      assert.equal((await ask(upstream, { method: 'GET', resource: { kind: 'base' } })).status, 200);
      const tags = await ask(upstream, { method: 'GET', resource: { kind: 'tags', repository: 'team/app' } });
      assert.deepEqual(JSON.parse(tags.bytes.toString()), { name: 'team/app', tags: ['1.0'] });
    });

    test('gives manifests by tag and by digest, nested ones too, with their type and digest', async (t) => {
      const { upstream, layout, index } = await sample(t);
      const accept = [index.index.mediaType, index.images[0]?.manifest.mediaType].join(', ');
      const descriptors = [index.index, ...index.images.map((image) => image.manifest)];
      const wanted = [{ selector: '1.0', descriptor: index.index }].concat(
        descriptors.map((descriptor) => ({ selector: descriptor.digest, descriptor })),
      );
      for (const { selector, descriptor } of wanted) {
        const resource = { kind: 'manifest', repository: 'team/app', selector } as const;
        const got = await ask(upstream, { method: 'GET', resource, accept });
        assert.equal(got.status, 200, selector);
        assert.deepEqual(got.bytes, await layout.blob(descriptor.digest));
        assert.equal(got.header('content-type'), descriptor.mediaType);
        assert.equal(got.header('docker-content-digest'), descriptor.digest);
        const head = await ask(upstream, { method: 'HEAD', resource, accept });
        assert.deepEqual([head.status, head.bytes.length], [200, 0]);
        assert.equal(head.header('content-length'), String(descriptor.size));
        assert.equal(head.header('docker-content-digest'), descriptor.digest);
        const etag = got.header('etag');
        assert.equal(
          (await ask(upstream, { method: 'GET', resource, accept, ifNoneMatch: etag })).status,
          304,
        );
      }
    });

    test('gives blobs, their heads, and their ranges', async (t) => {
      const { upstream, layout, index } = await sample(t);
      const layer = index.images[0]?.layers[0];
      assert.ok(layer);
      const blob = await layout.blob(layer.digest);
      const resource = { kind: 'blob', repository: 'team/app', digest: parseDigest(layer.digest) } as const;

      const whole = await ask(upstream, { method: 'GET', resource });
      assert.deepEqual([whole.status, whole.header('content-length')], [200, String(layer.size)]);
      assert.deepEqual(whole.bytes, blob);
      const head = await ask(upstream, { method: 'HEAD', resource });
      assert.deepEqual(
        [head.status, head.header('content-length'), head.bytes.length],
        [200, String(layer.size), 0],
      );
      assert.equal(head.header('docker-content-digest'), layer.digest);

      for (const [range, start, end] of [
        ['bytes=0-0', 0, 1],
        ['bytes=100-299', 100, 300],
        ['bytes=199000-', 199_000, layer.size],
        ['bytes=-7', layer.size - 7, layer.size],
        ['bytes=10-99999999', 10, layer.size],
      ] as const) {
        const part = await ask(upstream, { method: 'GET', resource, range });
        assert.deepEqual(
          [part.status, part.header('content-range')],
          [206, `bytes ${start}-${end - 1}/${layer.size}`],
        );
        assert.deepEqual(part.bytes, blob.subarray(start, end), range);
      }
      assert.equal(
        (await ask(upstream, { method: 'GET', resource, range: `bytes=${layer.size}-` })).status,
        416,
      );
    });

    test('answers 404, with a reason, for what it does not have', async (t) => {
      const { upstream } = await sample(t);
      for (const resource of [
        { kind: 'tags', repository: 'team/other' },
        { kind: 'manifest', repository: 'team/app', selector: '2.0' },
        { kind: 'manifest', repository: 'team/app', selector: ABSENT },
        { kind: 'manifest', repository: 'team/other', selector: '1.0' },
        { kind: 'blob', repository: 'team/app', digest: ABSENT },
      ] as const) {
        const got = await ask(upstream, { method: 'GET', resource });
        assert.equal(got.status, 404);
        const { errors } = JSON.parse(got.bytes.toString()) as { errors: { code: string }[] };
        assert.match(errors[0]?.code ?? '', /^(NAME|MANIFEST|BLOB)_UNKNOWN$/);
      }
    });
  });
}

suite('a layout on disk', false, onDisk);
suite('a registry', skipWithout('docker-registry'), inRegistry);

test('a bare tag belongs to the repository named like the directory', async (t) => {
  const directory = join(await tempDirectory(t, 'named'), 'Base-Image');
  await mkdir(directory);
  const layout = await TestLayout.create(directory);
  const image = await layout.addImage({ layers: [] }, 'v2');
  const warnings: string[] = [];
  await layout.name(image.manifest, 'not a name');
  const upstream = new LayoutUpstream(`${directory}/`, (message) => warnings.push(message));
  const resource = { kind: 'manifest', repository: 'base-image', selector: 'v2' } as const;
  assert.equal(
    (await ask(upstream, { method: 'GET', resource })).header('docker-content-digest'),
    image.manifest.digest,
  );
  assert.match(warnings.join(), /"not a name" is no repository and tag/);
});

test('who leaves before a blob of a layout begins does not end the service', async (t) => {
  const { layout } = await sampleLayout(t);
  const built = await layout.addImage({ layers: [randomLayer(1000, 'left')] }, 'team/left:1.0');
  const digest = parseDigest(built.layers[0]?.digest ?? '');
  const upstream = new LayoutUpstream(layout.directory, () => {});
  const left = new AbortController();
  const asked = upstream.ask(
    { method: 'GET', resource: { kind: 'blob', repository: 'team/left', digest } },
    left.signal,
  );
  left.abort();
  const { body } = await asked;
  // As where something else is waited for in between.
  await new Promise(setImmediate);
  await assert.rejects(buffer(body));
});

test('a layout that changes is read anew', async (t) => {
  const { upstream, layout } = await onDisk(t);
  const resource = { kind: 'manifest', repository: 'new', selector: 'x' } as const;
  assert.equal((await ask(upstream, { method: 'GET', resource })).status, 404);
  await layout.addImage({ layers: [] }, 'new:x');
  assert.equal((await ask(upstream, { method: 'GET', resource })).status, 200);
});

test('layouts made by umoci are served', { skip: skipWithout('umoci') }, async (t) => {
  const directory = join(await tempDirectory(t, 'umoci'), 'made');
  await mustRun(programPath('umoci'), ['init', '--layout', directory]);
  await mustRun(programPath('umoci'), ['new', '--image', `${directory}:edge`]);
  const upstream = new LayoutUpstream(directory, assert.fail);
  const resource = { kind: 'manifest', repository: 'made', selector: 'edge' } as const;
  assert.equal((await ask(upstream, { method: 'GET', resource })).status, 200);
});

test('what is broken or no file in a layout is absent, and no layout at all is unreachable', async (t) => {
  const { upstream, layout, index } = await onDisk(t);
  await writeFile(layout.blobPath(index.index.digest), 'other bytes');
  const resource = { kind: 'manifest', repository: 'team/app', selector: '1.0' } as const;
  assert.equal((await ask(upstream, { method: 'GET', resource })).status, 404);

  await mustRun('mkfifo', [layout.blobPath(ABSENT)]);
  const fifo = { kind: 'blob', repository: 'team/app', digest: ABSENT } as const;
  assert.equal((await ask(upstream, { method: 'GET', resource: fifo })).status, 404);

  const none = new LayoutUpstream(await tempDirectory(t, 'none'), assert.fail);
  await assert.rejects(none.ask({ method: 'GET', resource: { kind: 'base' } }, signal()), {
    code: 'unreachable',
  });
});

test('a hostile layout with indexes in a circle ends', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'circle'));
  const inner = await layout.addIndex([{ layers: [] }]);
  const outer = await layout.addJson(inner.index.mediaType, {
    schemaVersion: 2,
    mediaType: inner.index.mediaType,
    manifests: [inner.index, inner.index],
  });
  await layout.name(outer, 'a:1');
  await layout.name(inner.index, 'a:2');
  await symlink('/nowhere', layout.blobPath(ABSENT));
  const upstream = new LayoutUpstream(layout.directory, assert.fail);
  const tags = await ask(upstream, { method: 'GET', resource: { kind: 'tags', repository: 'a' } });
  assert.deepEqual(JSON.parse(tags.bytes.toString()), { name: 'a', tags: ['1', '2'] });
  assert.equal((await readdir(layout.directory)).length, 3);
});

test('a registry that is not there is unreachable', async (t) => {
  const upstream = new RegistryUpstream(new URL('http://127.0.0.1:1'), http(t));
  await assert.rejects(upstream.ask({ method: 'GET', resource: { kind: 'base' } }, signal()), {
    code: 'unreachable',
  });
});

test('a password that goes over plain HTTP is warned of once, not for each repository', async (t) => {
  const origin = new URL('http://r.test:5000');
  const shown: (string | undefined)[] = [];
  const warnings: string[] = [];
  const registry: Upstream = {
    hosts: [],
    ask: async ({ authorization }) => {
      shown.push(authorization);
      const headers = { 'www-authenticate': 'Basic realm="r"' };
      return { status: authorization === undefined ? 401 : 200, headers, body: Readable.from([]) };
    },
  };
  const own = new ServiceCredentialUpstream({
    upstream: registry,
    registry: 'r.test:5000',
    origin,
    credential: async () => ({ kind: 'basic', username: 'me', password: 's3cret' }),
    http: http(t),
    insecure: true,
    onWarning: (message) => warnings.push(message),
  });
  for (const repository of ['team/one', 'team/two', 'team/three']) {
    const resource = { kind: 'tags', repository } as const;
    assert.equal((await ask(own, { method: 'GET', resource })).status, 200);
  }
  assert.equal(shown.filter((each) => each !== undefined).length, 3);
  assert.deepEqual(warnings, ['the password for r.test:5000 goes over plain HTTP']);
});

test('Docker Hub is meant by each of its names', (t) => {
  const upstream = new RegistryUpstream(new URL('https://docker.io'), http(t));
  assert.ok(['docker.io', 'registry-1.docker.io'].every((name) => upstream.hosts.includes(name)));
});
