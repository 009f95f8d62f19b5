import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import type { AciEngine } from '../../src/engines/engine.ts';
import { rkt as entry } from '../../src/engines/rkt/rkt.ts';
import { aciDescriptor, signatureDescriptor, type AciImage } from '../../src/image/aci.ts';
import { digestOf } from '../../src/image/digest.ts';
import { buildAci, type AciSpec } from '../helpers/aci.ts';
import { TestLayout } from '../helpers/images.ts';
import { makeSigner, type TestSigner } from '../helpers/pgp.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { makeRkt, type TestRkt } from '../helpers/rkt.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { NEVER, TestFeed } from './engine-images.ts';
import { everyEngine, type SampleImage } from './every-engine.suite.ts';

const skip = skipWithout('gpg', 'xz');
const ends: (() => void | Promise<void>)[] = [];
const scope: Scope = { after: (end) => void ends.push(end) };
let rkt: TestRkt;
let signer: TestSigner;
before(async () => {
  if (skip !== false) return;
  [rkt, signer] = await Promise.all([makeRkt(scope), makeSigner(scope)]);
  await rkt.trust(signer.keyFile);
});
after(async () => {
  for (const end of ends.reverse()) await end();
});

everyEngine<AciImage>((name, body) => {
  test(`rkt: ${name}`, { skip }, (t) =>
    body(
      {
        open: () => open(),
        sample: (context, seed) => sample(context, seed),
        imageId: async (image) => (await rkt.images()).get(image) ?? '',
        leavesNothing: async (work) => {
          const earlier = await rkt.images();
          await work();
          assert.deepEqual(await rkt.images(), earlier);
        },
      },
      t,
    ),
  );
});

test('rkt: no program is told at once, with what to do', async () => {
  const engine = await entry.open({ env: { PATH: '/nowhere' }, options: {} });
  await assert.rejects(engine.platform(NEVER), /rkt is not installed here/);
});

test('rkt: what is refused keeps its reason, and what it means', { skip }, async (t) => {
  const stranger = await makeSigner(t);
  const cases: readonly [string, Partial<SampleOptions>, string, RegExp][] = [
    ['a key that is not trusted', { signer: stranger }, 'engine', /does not trust the key/],
    ['a signature of other bytes', { signed: Buffer.from('other') }, 'verification', /does not verify/],
    ['zstd', { spec: { compression: 'zstd' } }, 'engine', /did not take/],
  ];
  for (const [what, options, code, pattern] of cases) {
    const { image, feed, options: load } = await sample(t, 'refused', options);
    const lines: string[] = [];
    const engine = await open();
    await assert.rejects(
      engine.load(image, feed(), load({ onMessage: (line) => lines.push(line) })),
      (error: Error) => isQuayctlError(error, code as 'engine') && pattern.test(error.message),
      what,
    );
    assert.match(lines.join('\n'), /^fetch: /m, what);
  }
});

test('rkt: an image that is not what was asked for does not stay', { skip }, async (t) => {
  const before_ = await rkt.images();
  const other = { labels: [{ name: 'version', value: 'v2' }] };
  const cases: readonly Partial<SampleOptions>[] = [
    { asked: { name: 'quay.example/ns/else', labels: {} } },
    { spec: { manifest: other } },
    { imageId: `sha512-${'0'.repeat(64)}` },
  ];
  for (const options of cases) {
    const { image, feed, options: load } = await sample(t, 'other', options);
    const engine = await open();
    await assert.rejects(engine.load(image, feed(), load()), (error) =>
      isQuayctlError(error, 'verification'),
    );
  }
  assert.deepEqual(await rkt.images(), before_);
});

test('rkt: --insecure-options is handed on, and then no signature is needed', { skip }, async (t) => {
  const { image, id, feed, options } = await sample(t, 'unsigned');
  const { signature: _, ...unsigned } = image;
  const engine = await entry.open({ env: rkt.env, options: { insecureOptions: 'image' } });
  assert.equal((await engine.load(unsigned, feed(), options())).id, id);
});

interface SampleOptions {
  readonly spec: AciSpec;
  readonly signer: TestSigner;
  /** What the signature is of; the image by default. */
  readonly signed: Buffer;
  readonly asked: AciImage['name'];
  readonly imageId: string;
}

async function sample(
  t: TestContext,
  seed: string,
  more: Partial<SampleOptions> = {},
): Promise<SampleImage<AciImage>> {
  const name = `quay.example/ns/${seed}`;
  const asked = more.asked ?? { name, labels: { version: 'v1.0', os: 'linux' } };
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const spec: AciSpec = {
    files: [{ name: seed, content: { random: 2_000_000, seed } }],
    ...more.spec,
    manifest: { name, ...more.spec?.manifest },
  };
  const { bytes, imageId } = await buildAci(await tempDirectory(t, 'aci'), spec);
  const signature = await (more.signer ?? signer).sign(more.signed ?? bytes);
  for (const blob of [bytes, signature]) await layout.addBlob('application/octet-stream', blob);
  const aci = aciDescriptor({ digest: digestOf(bytes), size: bytes.length });
  const image: AciImage = {
    name: asked,
    aci,
    signature: signatureDescriptor(signature),
    imageId: more.imageId ?? imageId,
  };
  return {
    image,
    id: imageId,
    name: `${name}:v1.0`,
    blobs: [aci.digest, digestOf(signature)],
    wantsAll: true,
    feed: (held) => new TestFeed(layout, held),
    options: (load) => ({
      names: [],
      recordDigest: false,
      presence: { image: false, layers: [false] },
      signal: NEVER,
      ...load,
    }),
  };
}

function open(): Promise<AciEngine> {
  return entry.open({ env: rkt.env, options: {} });
}
