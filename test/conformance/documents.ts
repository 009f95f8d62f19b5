import { gzipSync } from 'node:zlib';
import {
  digestOf,
  DOCKER,
  OCI,
  oddImage,
  oddLayer,
  type OddImage,
  type OddImageOptions,
  type OddLayer,
} from '../helpers/odd-images.ts';
import { OddReply, startOddRegistry } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import { oddInput, row, salt, simple, type Case } from './case.ts';

const layer = (odd: Parameters<typeof oddLayer>[1] = {}): OddLayer =>
  oddLayer(oddTar([file('bin/x', 'x'), salt()]), odd);

const image =
  (make: () => OddImage): Case['set'] =>
  (scope) =>
    oddInput(scope, {}, { image: make() });
const one = (odd: OddImageOptions): Case['set'] => image(() => oddImage([layer()], odd));
const typed = (mediaType: string, odd: Parameters<typeof oddLayer>[1] = {}): Case['set'] =>
  image(() => oddImage([layer({ ...odd, mediaType })]));

type Entry = Readonly<Record<string, unknown>> & { readonly platform?: object };
const HERE = process.arch === 'x64' ? 'amd64' : process.arch;

/** An index; `make` gives its fields from the right entry for this platform. */
const index =
  (
    make: (entry: Entry, other: Entry) => Readonly<Record<string, unknown>>,
    mediaType: string = OCI.index,
  ): Case['set'] =>
  async (scope) => {
    const registry = await startOddRegistry(scope);
    const [wanted, unwanted] = [simple(), simple()];
    const [entry, other] = [wanted, unwanted].map((it) => {
      registry.put('team/app', it.digest, it);
      return { mediaType: it.mediaType, digest: it.digest, size: it.manifest.length };
    });
    const document = {
      schemaVersion: 2,
      mediaType,
      ...make(
        { ...entry, platform: { os: 'linux', architecture: HERE } },
        { ...other, platform: { os: 'linux', architecture: 's390x' } },
      ),
    };
    const reference = registry.putDocument('team/app', '1', JSON.stringify(document), mediaType);
    return { reference, image: wanted };
  };

/** A nested index: the document itself is an entry of another. */
const nested: Case['set'] = async (scope) => {
  const registry = await startOddRegistry(scope);
  const inner = simple();
  registry.put('team/app', inner.digest, inner);
  const platform = { os: 'linux', architecture: HERE };
  let entry: object = {
    mediaType: inner.mediaType,
    digest: inner.digest,
    size: inner.manifest.length,
    platform,
  };
  let reference = '';
  for (const tag of ['inner', '1']) {
    const document = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests: [entry] }),
    );
    reference = registry.putDocument('team/app', tag, document, OCI.index);
    entry = { mediaType: OCI.index, digest: digestOf(document), size: document.length };
  }
  return { reference, image: inner };
};

/** A layer that the registry does not have, or has not at first; `urls` say where else it lies. */
const foreign =
  (mediaType: string, urls: (here: string) => readonly string[], inRegistry: boolean): Case['set'] =>
  async (scope) => {
    const away = layer({ mediaType });
    const outside = await startOddRegistry(scope, {
      before: ({ path }) => (path === '/layer' ? new OddReply(200, {}, away.blob) : undefined),
    });
    const found = urls(`${outside.url}/layer`);
    const registry = await startOddRegistry(scope);
    const built = oddImage([layer(), away], {
      manifest: { layers: (right: Entry[]) => [right[0], { ...right[1], urls: found }] },
    });
    const reference = registry.put('team/app', '1', built);
    if (!inRegistry) registry.blobs.delete(digestOf(away.blob));
    return { reference, image: built };
  };

const sizes = (change: (size: number) => number): Case['set'] =>
  image(() =>
    oddImage([layer(), layer()], {
      manifest: {
        layers: (right: { size: number }[]) => right.map((each) => ({ ...each, size: change(each.size) })),
      },
    }),
  );

const without = (name: string) => ({ [name]: undefined });
const rootfs = (ids: (right: string[]) => unknown): OddImageOptions => ({
  config: { rootfs: ({ diff_ids }: { diff_ids: string[] }) => ({ type: 'layers', diff_ids: ids(diff_ids) }) },
});
/** The config's JSON with some text replaced: what JSON.stringify cannot write. */
const rewritten = (change: (json: string) => Buffer | string): Case['set'] =>
  image(() => {
    const only = layer();
    const json = JSON.stringify({
      architecture: HERE,
      os: 'linux',
      config: { Labels: { a: 'J@rg' } },
      rootfs: { type: 'layers', diff_ids: [only.diffId] },
    });
    return oddImage([only], { rawConfig: change(json) });
  });

export const DOCUMENTS: readonly Case[] = [
  ...row('D1', 'moby/moby#27568', 'pulled', [
    { name: 'no layers', set: image(() => oddImage([], { manifest: without('layers') })) },
    { name: 'layers null', set: image(() => oddImage([], { manifest: { layers: null } })) },
    { name: 'layers []', set: image(() => oddImage([])) },
    { name: 'rootfs {} and no layers', set: image(() => oddImage([], { config: { rootfs: {} } })) },
    {
      name: 'rootfs without a type',
      set: one({ config: { rootfs: ({ diff_ids }: { diff_ids: string[] }) => ({ diff_ids }) } }),
    },
  ]),
  ...row('D2', 'distribution/distribution#2650', 'pulled', [
    { name: 'a manifest without schemaVersion', set: one({ manifest: without('schemaVersion') }) },
    {
      name: 'an index without schemaVersion',
      set: index((entry) => ({ schemaVersion: undefined, manifests: [entry] })),
    },
  ]),
  ...row('D3', 'writers of many makers', 'pulled', [
    { name: 'a null annotation', set: one({ manifest: { annotations: { a: null } } }) },
    { name: 'null annotations', set: one({ manifest: { annotations: null } }) },
    { name: 'manifests null in a manifest', set: one({ manifest: { manifests: null } }) },
    { name: 'fsLayers null', set: one({ manifest: { fsLayers: null } }) },
    { name: 'a null entry in an index', set: index((entry) => ({ manifests: [null, entry] })) },
    {
      name: 'a layer without a mediaType',
      set: one({
        manifest: {
          layers: (right: object[]) => right.map((each) => ({ ...each, mediaType: undefined })),
        },
      }),
    },
    {
      name: 'an index entry without a size',
      set: index((entry) => ({ manifests: [{ ...entry, size: undefined }] })),
    },
    {
      name: 'a config with a byte that is no UTF-8',
      set: rewritten((json) => Buffer.from(json.replace('@', '\xf6'), 'latin1')),
    },
    {
      name: 'config keys in another case',
      set: rewritten((json) => json.replace('"os"', '"OS"').replace('"rootfs"', '"RootFS"')),
    },
    {
      name: 'a control character in the variant',
      set: one({ config: { variant: 'v8\u0007' } }),
    },
  ]),
  ...row('D4', 'writers of many makers', 'pulled', [
    { name: 'no history', set: one({ config: without('history') }) },
    { name: 'history null', set: one({ config: { history: null } }) },
    { name: 'history too short', set: one({ config: { history: [] } }) },
    { name: 'history of empty layers only', set: one({ config: { history: [{ empty_layer: true }] } }) },
    { name: 'no os', set: one({ config: without('os') }) },
    { name: 'no architecture', set: one({ config: without('architecture') }) },
    { name: 'no created', set: one({ config: without('created') }) },
    { name: 'no config', set: one({ config: without('config') }) },
    { name: 'config null', set: one({ config: { config: null } }) },
    ...['0001-01-01T00:00:00Z', '2020-01-01T00:00:00.123456789+05:30'].map((created) => ({
      name: `created ${created}`,
      set: one({ config: { created } }),
    })),
  ]),
  ...row('D5', 'writers of many makers', { exit: 6, says: /diff ?ID/i }, [
    { name: 'too few diff IDs', into: 'docker', set: one(rootfs(() => [])) },
    { name: 'too many diff IDs', into: 'docker', set: one(rootfs((ids) => [...ids, ...ids])) },
    {
      name: 'a wrong diff ID',
      into: 'docker',
      set: one(rootfs(() => [digestOf(Buffer.from('something else'))])),
    },
    {
      name: 'a diff ID in upper case',
      right: { exit: 1, says: /not a digest/ },
      into: 'docker',
      set: one(rootfs((ids) => ids.map((id) => `sha256:${id.slice(7).toUpperCase()}`))),
    },
    {
      name: 'a history that is too long',
      right: { exit: 5, says: /too many non-empty layers in History/ },
      into: 'docker',
      set: one({ config: { history: [{ created_by: 'a' }, { created_by: 'b' }] } }),
    },
    // `os: "Linux"` stands in no list: dockerd 20.10 itself ends of it
  ]),
  ...row('D6', 'podman-container-tools/skopeo#1054', { exit: 6, says: /\d+ bytes/ }, [
    { name: 'sizes one too small', set: sizes((size) => size - 1) },
    { name: 'sizes one too large', set: sizes((size) => size + 1) },
    { name: 'sizes 0', right: { exit: 6, says: /does not verify/ }, set: sizes(() => 0) },
    { name: 'sizes negative', right: { exit: 1, says: /size/ }, set: sizes(() => -1) },
  ]),
  ...row('D7', 'containerd/containerd#2401, rancher/rancher#22415', 'pulled', [
    {
      name: 'the size of an index entry is wrong',
      set: index((entry) => ({ manifests: [{ ...entry, size: 7 }] })),
    },
  ]),
  ...row('D8', 'moby/moby#30083, #19526', 'pulled', [
    ...['text/html', 'application/octet-stream', 'application/json'].map((configType) => ({
      name: `Docker's config as ${configType}`,
      set: image(() => oddImage([layer({ format: 'docker' })], { format: 'docker', configType })),
    })),
  ]),
  ...row('D9', 'bazelbuild/rules_docker#2266', 'pulled', [
    {
      name: "Docker's type for plain layers",
      set: image(() => oddImage([layer({ format: 'docker', compression: 'none' })], { format: 'docker' })),
    },
    { name: 'type gzip, content plain', set: typed(`${OCI.layer}+gzip`, { compression: 'none' }) },
    { name: 'type plain, content gzip', set: typed(OCI.layer) },
  ]),
  ...row('D10', 'concourse/registry-image-resource#405, anchore/stereoscope#487', 'pulled', [
    {
      name: "Docker's type for zstd",
      set: image(() => oddImage([layer({ format: 'docker', compression: 'zstd' })], { format: 'docker' })),
    },
  ]),
  ...row('D11', 'concourse/registry-image-resource#405', 'pulled', [
    { name: 'type zstd, content gzip', into: 'docker', set: typed(`${OCI.layer}+zstd`) },
    {
      name: 'type zstd, content plain',
      into: 'docker',
      set: typed(`${OCI.layer}+zstd`, { compression: 'none' }),
    },
    {
      name: 'type gzip, content zstd',
      into: 'docker',
      set: typed(`${OCI.layer}+gzip`, { compression: 'zstd' }),
    },
  ]),
  ...row('D12', 'writers of many makers', 'pulled', [
    { name: 'layers as application/octet-stream', into: 'docker', set: typed('application/octet-stream') },
    { name: 'a parameter in the layer type', into: 'docker', set: typed(`${OCI.layer}+gzip; charset=utf-8`) },
    { name: 'the layer type in upper case', into: 'docker', set: typed(`${OCI.layer}+gzip`.toUpperCase()) },
    { name: 'layers as +estargz', into: 'docker', set: typed(`${OCI.layer}+estargz`) },
    {
      name: 'layers as rootfs.diff+x-gtar of 2015',
      into: 'docker',
      set: image(() =>
        oddImage([layer({ mediaType: 'application/vnd.docker.container.image.rootfs.diff+x-gtar' })], {
          format: 'docker',
        }),
      ),
    },
  ]),
  ...row('D13', 'indexes of many makers', 'pulled', [
    { name: 'an index in an index', set: nested },
    {
      name: 'an entry without a platform alone',
      set: index(({ platform: _, ...entry }) => ({ manifests: [entry] })),
    },
    {
      name: 'attestations beside the image',
      set: index((entry, other) => ({
        manifests: [
          {
            ...other,
            platform: { os: 'unknown', architecture: 'unknown' },
            annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
          },
          entry,
        ],
      })),
    },
    {
      name: 'an artifact beside the image',
      set: index((entry, { platform: _, ...other }) => ({
        manifests: [{ ...other, mediaType: OCI.manifest, artifactType: 'application/x' }, entry],
      })),
    },
    {
      name: 'the same platform twice',
      set: index((entry, other) => ({ manifests: [entry, { ...other, platform: entry.platform }] })),
    },
    {
      name: "Docker's manifest list",
      set: index((entry, other) => ({ manifests: [other, entry] }), DOCKER.index),
    },
    ...(HERE === 'amd64' ? ['x86_64', 'x86-64'] : ['aarch64']).map((architecture) => ({
      name: `architecture ${architecture}`,
      set: index((entry) => ({ manifests: [{ ...entry, platform: { os: 'linux', architecture } }] })),
    })),
  ]),
  ...row('D14', 'indexes of many makers', 'pulled', [
    ...(
      [
        ['a digest in sha512', { digest: `sha512:${'3'.repeat(128)}` }],
        ['a broken digest', { digest: 'sha256:xyz' }],
        ['no digest', { digest: undefined }],
        ['a size that is a text', { size: 'large' }],
        ['a platform that is a text', { platform: 'linux' }],
        ['a type of its own', { mediaType: 'application/x-unknown' }],
      ] as const
    ).map(([what, change]) => ({
      name: `the entry of another platform has ${what}`,
      set: index((entry, other) => ({ manifests: [{ ...other, ...change }, entry] })),
    })),
    {
      name: '1,001 entries',
      set: index((entry, other) => ({
        manifests: [
          ...Array.from({ length: 1000 }, (_, at) => ({
            ...other,
            platform: { os: 'linux', architecture: `cpu${at}` },
          })),
          entry,
        ],
      })),
    },
  ]),
  ...row('D15', 'foreign layers', 'pulled', [
    ...(
      [
        ["Docker's", 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'],
        ["OCI's", 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'],
      ] as const
    ).flatMap(([whose, type]) => [
      { name: `${whose} type, in the registry`, set: foreign(type, (here) => [here], true) },
      { name: `${whose} type, at its URL alone`, set: foreign(type, (here) => [here], false) },
      {
        name: `${whose} type, a dead URL first`,
        set: foreign(type, (here) => ['http://127.0.0.1:1/gone', here], false),
      },
      {
        name: `${whose} type, an s3:// first`,
        set: foreign(type, (here) => ['s3://bucket/key', here], false),
      },
    ]),
  ]),
  ...row('D16', 'writers of many makers', 'pulled', [
    {
      name: 'a layer of 0 bytes',
      set: image(() => oddImage([layer(), oddLayer(Buffer.alloc(0), { compression: 'none' })])),
    },
    { name: 'gzip of nothing', set: image(() => oddImage([layer(), oddLayer(Buffer.alloc(0))])) },
    { name: 'an empty tar', set: image(() => oddImage([layer(), oddLayer(oddTar([]))])) },
    {
      name: 'the same layer five times',
      set: image(() => oddImage(Array.from<OddLayer>({ length: 5 }).fill(layer()))),
    },
    {
      name: 'one diff ID as two blobs',
      set: image(() => {
        const tar = oddTar([salt()]);
        return oddImage([oddLayer(tar), oddLayer(tar, { blob: gzipSync(tar, { level: 0 }) })]);
      }),
    },
    { name: '125 layers', set: image(() => oddImage(Array.from({ length: 125 }, () => layer()))) },
    {
      name: '128 layers',
      right: { exit: 5, says: /max depth exceeded/ },
      into: 'docker',
      set: image(() => oddImage(Array.from({ length: 128 }, () => layer()))),
    },
  ]),
];
