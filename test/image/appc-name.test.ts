import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import {
  aciArtifact,
  aciDescriptor,
  aciOfArtifact,
  aciReference,
  storedAci,
  type AciImage,
} from '../../src/image/aci.ts';
import { formatAppcName, parseAppcName, splitAppcName } from '../../src/image/appc-name.ts';
import { appcPlatform, platformOfAppc } from '../../src/image/appc-platform.ts';
import { parseImageConfig } from '../../src/image/config.ts';
import { digestOf } from '../../src/image/digest.ts';
import { formatReference } from '../../src/image/reference.ts';
import { neverBreaks } from '../helpers/fuzz.ts';

const GOOD: readonly (readonly [text: string, name: string, labels: Record<string, string>])[] = [
  ['quay.io/ns/repo', 'quay.io/ns/repo', {}],
  ['quay.io/ns/repo:1.0', 'quay.io/ns/repo', { version: '1.0' }],
  ['quay.io/ns/repo:V1_x', 'quay.io/ns/repo', { version: 'V1_x' }],
  ['quay.io/a/b/c:1,os=linux,arch=amd64', 'quay.io/a/b/c', { version: '1', os: 'linux', arch: 'amd64' }],
  ['quay.io/ns/repo,channel=alpha', 'quay.io/ns/repo', { channel: 'alpha' }],
  ['quay.io/ns/repo,version=2', 'quay.io/ns/repo', { version: '2' }],
  ['quay.io/ns/re_po-x.y~z:1', 'quay.io/ns/re_po-x.y~z', { version: '1' }],
  ['example.com', 'example.com', {}],
  ['quay.io/ns/a__b', 'quay.io/ns/a__b', {}],
  ['quay.io/ns/a--b:1', 'quay.io/ns/a--b', { version: '1' }],
  ['quay.io/ns/a,arch=armv7b', 'quay.io/ns/a', { arch: 'armv7b' }],
  ['quay.io/ns/repo:1,a.b/c=d=e', 'quay.io/ns/repo', { version: '1', 'a.b/c': 'd=e' }],
];

for (const [text, name, labels] of GOOD) {
  test(`appc name: ${text}`, () => {
    const parsed = parseAppcName(text);
    assert.deepEqual({ ...parsed }, { name, labels });
    assert.deepEqual(parseAppcName(formatAppcName(parsed)), parsed);
  });
}

const BAD: readonly (readonly [text: string, reason: RegExp])[] = [
  ['', /it has no name/],
  [':1', /it has no name/],
  ['https://quay.io/ns/repo', /it has a scheme/],
  ['docker://quay.io/ns/repo', /it has a scheme/],
  ['quay.io:5000/ns/repo', /names hold no port/],
  ['quay.io/ns/repo:1:2', /names hold no port/],
  ['quay.io/ns/repo,a=b:1', /holds a space, a colon/],
  ['Quay.io/ns/repo', /must be lower-case/],
  ['quay.io/../repo', /in the name stand/],
  ['quay.io/ns/repo-', /in the name stand/],
  ['quay.io/ns/repo,os=freebsd', /os=linux alone/],
  ['quay.io/ns/repo,arch=arm64', /no arch=arm64/],
  ['quay.io/ns/repo,arch=s390x', /no arch=s390x/],
  ['quay.io//repo', /in the name stand/],
  ['quay.io/ns/repo/', /in the name stand/],
  ['-quay.io/ns', /in the name stand/],
  ['quay.io/ns/repo?x=1', /in the name stand/],
  ['quay.io/ns/rêpo', /in the name stand/],
  ['quay.io/ns/repo:', /version is empty/],
  ['quay.io/ns/repo:1 0', /holds a space/],
  ['quay.io/ns/repo,channel', /has no value/],
  ['quay.io/ns/repo,=x', /is not a label/],
  ['quay.io/ns/repo,Channel=x', /is not a label/],
  ['quay.io/ns/repo,name=x', /is not a label/],
  ['quay.io/ns/repo:1,version=2', /two values/],
  ['quay.io/ns/repo,a=1,a=1', /two values/],
  [`quay.io/ns/repo@sha256:${'0'.repeat(64)}`, /not named by a digest/],
  [`quay.io/${'a'.repeat(2000)}`, /longer than/],
  [`quay.io/a${',b=c'.repeat(40)}`, /more than 32 labels/],
];

for (const [text, reason] of BAD) {
  test(`no appc name: ${text.slice(0, 60)}`, () => {
    assert.throws(
      () => parseAppcName(text),
      (error: Error) => isQuayctlError(error, 'usage') && reason.test(error.message),
    );
  });
}

const MEANT = [
  ['arm64', 'aarch64'],
  ['x86_64', 'amd64'],
  ['386', 'i386'],
  ['arm', 'armv7l'],
  ['arm/v6', 'armv6l'],
] as const;
for (const [arch, meant] of MEANT) {
  test(`arch=${arch} is answered with arch=${meant}`, () => {
    assert.throws(
      () => parseAppcName(`quay.io/ns/repo,arch=${arch}`),
      (error) => isQuayctlError(error, 'usage') && error.hint === `did you mean arch=${meant}?`,
    );
  });
}

test('a password that was pasted along is not repeated', () => {
  assert.throws(
    () => parseAppcName('https://me:s3cret@quay.io/ns/repo'),
    (error: Error) => !error.message.includes('s3cret'),
  );
});

test('whatever is typed, it is a name or a usage error', async (t) => {
  const seeds = [...GOOD, ...BAD].map(([text]) => Buffer.from(text));
  await neverBreaks(
    t,
    (random) => Buffer.from(random.mutate(random.pick(seeds), seeds)).toString('latin1'),
    (text) => assert.match(parseAppcName(text).name, /^[a-z0-9]/),
  );
});

test('the host is asked, what stands behind it is the repository', () => {
  assert.deepEqual(splitAppcName(parseAppcName('quay.io/ns/repo:1')), { host: 'quay.io', path: 'ns/repo' });
  assert.deepEqual(splitAppcName(parseAppcName('quay.io')), { host: 'quay.io', path: '' });
});

test('platforms in the words of appc, and back', () => {
  const table: readonly (readonly [string, string | undefined, string])[] = [
    ['amd64', undefined, 'amd64'],
    ['386', undefined, 'i386'],
    ['arm64', undefined, 'aarch64'],
    ['arm', 'v6', 'armv6l'],
    ['arm', 'v7', 'armv7l'],
    ['ppc64le', undefined, 'ppc64le'],
    ['s390x', undefined, 's390x'],
  ];
  for (const [architecture, variant, arch] of table) {
    const platform = { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) };
    assert.deepEqual(appcPlatform(platform), { os: 'linux', arch });
    assert.deepEqual(platformOfAppc({ os: 'linux', arch }), platform);
  }
  assert.equal(appcPlatform({ os: 'linux', architecture: 'arm' }).arch, 'armv6l');
  assert.equal(platformOfAppc({ os: 'linux', arch: 'x86_64' }), undefined);
  for (const platform of [
    { os: 'windows', architecture: 'amd64' },
    { os: 'linux', architecture: 'riscv64' },
  ]) {
    assert.throws(
      () => appcPlatform(platform),
      (error) => isQuayctlError(error, 'unsupported'),
    );
  }
});

test('an ACI lies in the store as an OCI artifact, and comes out of it as it was', () => {
  const image: AciImage = {
    name: parseAppcName('quay.io/ns/repo:1.0,os=linux,arch=armv7l'),
    aci: aciDescriptor({ digest: digestOf(Buffer.from('aci')), size: 3 }),
    signature: { mediaType: 'application/pgp-signature', digest: digestOf(Buffer.from('asc')), size: 3 },
    imageId: `sha512-${'ab'.repeat(32)}`,
  };
  const reference = aciReference(image.name);
  assert.ok(reference);
  assert.equal(formatReference(reference), 'quay.io/ns/repo:1.0.aci');
  const artifact = aciArtifact(image, reference);
  assert.deepEqual(aciOfArtifact(image.name, artifact.image), image);
  const { os, architecture, variant } = parseImageConfig(artifact.config);
  const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  const { layers } = artifact.image.manifest;
  assert.deepEqual(storedAci({ reference, platform }, layers), { name: image.name, aci: image.aci });
  assert.equal(storedAci({ reference, platform }, layers.slice(1)), undefined);
  for (const name of ['quay.io', 'quay.io/ns/a~b', 'host/app']) {
    assert.equal(aciReference(parseAppcName(name)), undefined, name);
  }
});
