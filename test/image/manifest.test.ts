import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import {
  parseManifest,
  unrunnableReason,
  type ImageIndex,
  type ImageManifest,
} from '../../src/image/manifest.ts';
import {
  DOCKER_CONFIG,
  OCI_LAYER,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/image/media-types.ts';

const HEX = 'ab'.repeat(32);
const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const EMPTY = {
  mediaType: 'application/vnd.oci.empty.v1+json',
  digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
  size: 2,
};
const CONFIG = { mediaType: OCI_CONFIG, digest: `sha256:${HEX}`, size: 100 };
const LAYER = { mediaType: GZIP, digest: `sha256:${HEX}`, size: 1000 };
const MANIFEST = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: CONFIG, layers: [LAYER] };
const INDEX = {
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: [
    { ...LAYER, mediaType: OCI_MANIFEST, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
  ],
};

function bytes(json: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(json));
}

function image(json: unknown, contentType?: string): ImageManifest {
  const parsed = parseManifest(bytes(json), contentType);
  assert.equal(parsed.kind, 'manifest');
  return parsed;
}

function index(json: unknown, contentType?: string): ImageIndex {
  const parsed = parseManifest(bytes(json), contentType);
  assert.equal(parsed.kind, 'index');
  return parsed;
}

describe('what a document is', () => {
  test('its own media type says it', () => {
    assert.equal(image(MANIFEST).mediaType, OCI_MANIFEST);
    assert.equal(image({ ...MANIFEST, mediaType: DOCKER_MANIFEST }).mediaType, DOCKER_MANIFEST);
    assert.equal(index(INDEX).mediaType, OCI_INDEX);
    assert.equal(index({ ...INDEX, mediaType: DOCKER_MANIFEST_LIST }).mediaType, DOCKER_MANIFEST_LIST);
  });

  test('without one, the content type, else the fields say it', () => {
    const [bareManifest, bareIndex] = [
      { ...MANIFEST, mediaType: undefined },
      { ...INDEX, mediaType: undefined },
    ];
    assert.equal(image(bareManifest, DOCKER_MANIFEST).mediaType, DOCKER_MANIFEST);
    assert.equal(image(bareManifest).mediaType, OCI_MANIFEST);
    assert.equal(index(bareIndex).mediaType, OCI_INDEX);
    assert.equal(index(bareIndex, 'text/plain; charset=utf-8').mediaType, OCI_INDEX);
  });

  test('a content type may have parameters, and be one of a server that does not know', () => {
    assert.equal(image(MANIFEST, `${OCI_MANIFEST}; charset=utf-8`).mediaType, OCI_MANIFEST);
    for (const generic of ['application/json', 'application/octet-stream', 'text/plain', '']) {
      assert.equal(image(MANIFEST, generic).mediaType, OCI_MANIFEST);
    }
  });
});

test('every field of a manifest comes through', () => {
  const manifest = image({
    ...MANIFEST,
    artifactType: 'application/x',
    annotations: JSON.parse('{"a":"b","__proto__":"c"}') as object,
    subject: { ...LAYER, mediaType: OCI_MANIFEST },
    layers: [
      LAYER,
      { ...LAYER, urls: ['https://example.com/l', 'ftp://example.com/l', 'http://', 'not a url'] },
      LAYER,
    ],
  });
  assert.equal(manifest.layers.length, 3);
  assert.deepEqual(manifest.layers[0], LAYER);
  assert.deepEqual(manifest.layers[1]?.urls, ['https://example.com/l']);
  assert.equal(manifest.artifactType, 'application/x');
  assert.deepEqual(Object.entries(manifest.annotations ?? {}), [
    ['a', 'b'],
    ['__proto__', 'c'],
  ]);
  assert.equal(manifest.subject?.mediaType, OCI_MANIFEST);
  assert.deepEqual(manifest.config, CONFIG);
});

test('a platform comes through; fields that Go leaves empty or null are none', () => {
  const platform = {
    os: 'windows',
    architecture: 'amd64',
    'os.version': '10.0.20348.1',
    'os.features': ['win32k'],
  };
  const entries = [
    { ...LAYER, platform },
    { ...LAYER, platform: { os: '', architecture: '' }, urls: null, annotations: null },
    { ...LAYER, platform: null },
  ];
  const [windows, empty, none] = index({ ...INDEX, manifests: entries, annotations: null }).manifests;
  assert.deepEqual(windows?.platform, { os: 'windows', architecture: 'amd64', osVersion: '10.0.20348.1' });
  assert.deepEqual([empty, none], [LAYER, LAYER]);
  assert.deepEqual(image({ ...MANIFEST, layers: null }).layers, []);
});

test('what Go reads is read: fields that are missing or null', () => {
  const { schemaVersion: _, ...bare } = MANIFEST;
  assert.equal(parseManifest(bytes(bare)).kind, 'manifest');
  for (const layers of [undefined, null, []]) {
    const parsed = parseManifest(bytes({ ...MANIFEST, layers, manifests: null, fsLayers: null }));
    assert.deepEqual(parsed.kind === 'manifest' && parsed.layers, []);
  }
  const parsed = parseManifest(
    bytes({ ...MANIFEST, annotations: { a: null }, layers: [{ ...LAYER, mediaType: null }] }),
  );
  assert.ok(parsed.kind === 'manifest');
  assert.deepEqual([parsed.annotations, parsed.layers[0]?.mediaType], [{ a: '' }, OCI_LAYER]);
});

test('an entry that cannot be read spoils no other; an index of nothing else says why', () => {
  const sha512 = { ...LAYER, digest: `sha512:${HEX}${HEX}` };
  const { mediaType: _, size: __, ...sparse } = LAYER;
  const mixed = parseManifest(bytes({ ...INDEX, manifests: [sha512, null, 'x', sparse] }));
  assert.ok(mixed.kind === 'index');
  assert.deepEqual(
    mixed.manifests.map(({ digest, size }) => [digest, size]),
    [[LAYER.digest, 0]],
  );
  assert.throws(
    () => parseManifest(bytes({ ...INDEX, manifests: [sha512] })),
    (error) => isQuayctlError(error, 'unsupported') && /only sha256/.test(error.message),
  );
});

describe('what is refused', () => {
  const layer = (change: object): object => ({ ...MANIFEST, layers: [LAYER, { ...LAYER, ...change }] });
  // what, document, content type, code, in the message
  const table: [string, unknown, string | undefined, ErrorCode, RegExp][] = [
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, undefined, 'unsupported', /schema 1/],
    [
      'schema 1 by its content type',
      {},
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'unsupported',
      /schema 1/,
    ],
    ['schemaVersion 3', { ...MANIFEST, schemaVersion: 3 }, undefined, 'protocol', /schemaVersion/],
    ['two media types', MANIFEST, DOCKER_MANIFEST, 'protocol', /was served as/],
    ['an index served as a manifest', INDEX, OCI_MANIFEST, 'protocol', /was served as/],
    [
      'an unknown media type',
      { ...MANIFEST, mediaType: 'application/x' },
      undefined,
      'unsupported',
      /application\/x/,
    ],
    [
      'an unknown content type',
      { ...MANIFEST, mediaType: undefined },
      'text/html',
      'unsupported',
      /text\/html/,
    ],
    ['a media type that is no text', { ...MANIFEST, mediaType: 7 }, undefined, 'protocol', /mediaType/],
    [
      'layers and manifests (CVE-2021-41190)',
      { ...MANIFEST, manifests: [] },
      undefined,
      'protocol',
      /field manifests/,
    ],
    ['the same in an index', { ...INDEX, layers: [] }, undefined, 'protocol', /field layers/],
    ['a config in an index', { ...INDEX, config: CONFIG }, undefined, 'protocol', /field config/],
    ['schema 1 layers in schema 2', { ...MANIFEST, fsLayers: [] }, undefined, 'protocol', /field fsLayers/],
    [
      'both, and no media type',
      { ...MANIFEST, mediaType: undefined, manifests: [] },
      undefined,
      'protocol',
      /field/,
    ],
    ['no config', { ...MANIFEST, config: undefined }, undefined, 'protocol', /config: not an object/],
    ['layers that are an object', { ...MANIFEST, layers: {} }, undefined, 'protocol', /layers: not a list/],
    [
      'a layer that is a list',
      { ...MANIFEST, layers: [[]] },
      undefined,
      'protocol',
      /layer 0: not an object/,
    ],
    ['a negative size', layer({ size: -1 }), undefined, 'protocol', /layer 1: size/],
    ['a fraction for a size', layer({ size: 1.5 }), undefined, 'protocol', /layer 1: size/],
    ['a size that JavaScript cannot count', layer({ size: 2 ** 53 }), undefined, 'protocol', /layer 1: size/],
    ['a text for a size', layer({ size: '7' }), undefined, 'protocol', /layer 1: size/],
    ['sizes that add up to too much', layer({ size: 2 ** 53 - 1 }), undefined, 'limit', /add up/],
    ['no digest', layer({ digest: undefined }), undefined, 'protocol', /layer 1: digest/],
    [
      'a digest that is none',
      layer({ digest: '../../etc/passwd' }),
      undefined,
      'protocol',
      /layer 1: not a digest/,
    ],
    [
      'an upper-case digest',
      layer({ digest: `sha256:${HEX.toUpperCase()}` }),
      undefined,
      'protocol',
      /layer 1/,
    ],
    ['sha512', layer({ digest: `sha512:${HEX}${HEX}` }), undefined, 'unsupported', /layer 1: .*only sha256/],
    [
      'a media type without end',
      layer({ mediaType: 'x'.repeat(1000) }),
      undefined,
      'protocol',
      /layer 1: mediaType/,
    ],
    [
      'a media type that would write on the terminal',
      layer({ mediaType: 'a/\x1b[2J' }),
      undefined,
      'protocol',
      /layer 1: mediaType/,
    ],
    ['urls that are no list', layer({ urls: 'https://x/' }), undefined, 'protocol', /urls/],
    ['urls that are no texts', layer({ urls: [7] }), undefined, 'protocol', /urls/],
    ['urls without end', layer({ urls: Array(17).fill('https://x/') }), undefined, 'limit', /urls/],
    ['annotations that are no texts', layer({ annotations: { a: 7 } }), undefined, 'protocol', /annotations/],
    [
      'annotations without end',
      { ...MANIFEST, annotations: Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [at, ''])) },
      undefined,
      'limit',
      /annotations/,
    ],
    [
      'a false empty descriptor',
      { ...MANIFEST, config: { ...EMPTY, size: 3 } },
      undefined,
      'protocol',
      /empty/,
    ],
    ['1,001 layers', { ...MANIFEST, layers: Array(1001).fill(LAYER) }, undefined, 'limit', /1001 items/],
    ['10,001 entries', { ...INDEX, manifests: Array(10_001).fill(null) }, undefined, 'limit', /10001 items/],
    ['a list', [], undefined, 'protocol', /not an object/],
    ['null', null, undefined, 'protocol', /not an object/],
  ];
  for (const [what, document, contentType, code, message] of table) {
    test(what, () => {
      assert.throws(
        () => parseManifest(bytes(document), contentType),
        (error) => {
          assert.ok(isQuayctlError(error, code), String(error));
          assert.match(error.message, message);
          assert.ok(error.message.length < 500);
          return true;
        },
      );
    });
  }

  const raw: [string, string | Uint8Array, ErrorCode][] = [
    ['nothing', '', 'protocol'],
    ['a web page', '<html>', 'protocol'],
    ['half of a document', JSON.stringify(MANIFEST).slice(0, -1), 'protocol'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'protocol'],
    ['a byte order mark', `\uFEFF${JSON.stringify(MANIFEST)}`, 'protocol'],
    ['a bomb of brackets', '['.repeat(4_000_000), 'limit'],
    ['a bomb of objects', '{"a":'.repeat(800_000), 'limit'],
    ['a million values', `{"layers":[${'{},'.repeat(1_000_000)}{}]}`, 'limit'],
    ['more than 4 MiB', JSON.stringify({ ...MANIFEST, x: 'x'.repeat(4 * 1024 * 1024) }), 'limit'],
  ];
  for (const [what, text, code] of raw) {
    test(what, () => {
      assert.throws(
        () => parseManifest(Buffer.from(text)),
        (error) => isQuayctlError(error, code),
      );
    });
  }
});

test('brackets inside of texts are no nesting', () => {
  const annotations = { a: '[{'.repeat(1000), b: '\\"[' };
  assert.deepEqual(image({ ...MANIFEST, annotations }).annotations, annotations);
});

describe('what an engine can run', () => {
  test('images of Docker and OCI, without layers too', () => {
    assert.equal(unrunnableReason(image(MANIFEST)), undefined);
    assert.equal(
      unrunnableReason(image({ ...MANIFEST, config: { ...CONFIG, mediaType: DOCKER_CONFIG } })),
      undefined,
    );
    assert.equal(unrunnableReason(image({ ...MANIFEST, layers: [] })), undefined);
  });

  test('images whose config type a registry of 2016 has spoiled, as Docker does', () => {
    const config = { ...CONFIG, mediaType: 'application/octet-stream' };
    assert.equal(unrunnableReason(image({ ...MANIFEST, mediaType: DOCKER_MANIFEST, config })), undefined);
    assert.match(unrunnableReason(image({ ...MANIFEST, config })) ?? '', /octet-stream/);
  });

  // what, change to the manifest, in the reason
  const table: [string, object, RegExp][] = [
    [
      'a Helm chart',
      { config: { ...CONFIG, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      /helm/,
    ],
    [
      'an artifact with the empty config',
      { config: EMPTY, artifactType: 'application/vnd.example.sbom' },
      /vnd\.example\.sbom/,
    ],
    ['an artifact that does not say of what type', { config: EMPTY }, /vnd\.oci\.empty/],
    [
      'a Docker plugin',
      { config: { ...CONFIG, mediaType: 'application/vnd.docker.plugin.v1+json' } },
      /plugin/,
    ],
    ['an attestation', { layers: [{ ...LAYER, mediaType: 'application/vnd.in-toto+json' }] }, /in-toto/],
    ['a config of gigabytes', { config: { ...CONFIG, size: 10_000_000_000 } }, /10000000000 bytes/],
    ['encrypted layers', { layers: [LAYER, { ...LAYER, mediaType: `${GZIP}+encrypted` }] }, /encrypted/],
  ];
  for (const [what, change, reason] of table) {
    test(`not ${what}`, () =>
      assert.match(unrunnableReason(image({ ...MANIFEST, ...change })) ?? '', reason));
  }
});
