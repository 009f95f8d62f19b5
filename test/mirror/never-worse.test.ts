import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import type { HttpFault } from '../helpers/fault-proxy.ts';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { askMirror, openMirrorStage, type MirrorStage } from './kit.ts';

const skip = skipWithout('docker-registry');
const ACCEPT = { accept: MANIFEST_TYPES.join(', ') };
const SIZE = 5_000_000;

async function open(
  t: Parameters<typeof openMirrorStage>[0],
): Promise<MirrorStage & { readonly layer: string }> {
  const stage = await openMirrorStage(t, {}, ['--stall', '4s']);
  const image = await stage.layout.addImage({ layers: [randomLayer(SIZE, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0');
  await (await askMirror(stage, `team/app/manifests/${image.manifest.digest}`, ACCEPT)).arrayBuffer();
  return { ...stage, layer: image.layers[0]?.digest ?? '' };
}

const sick: Readonly<Record<string, HttpFault>> = {
  'is silent': { silent: true },
  'answers 500': { status: 500 },
  'is cut in the middle of its answers': { cutAfter: 100 },
};

for (const [how, fault] of Object.entries(sick)) {
  test(`a torrent service that ${how} costs a silence of half the stall at most`, { skip }, async (t) => {
    const stage = await open(t);
    stage.service.faults.push(fault);
    const answer = await askMirror(stage, `team/app/blobs/${stage.layer}`);
    assert.equal(await digestOf(answer), stage.layer);
    assert.doesNotMatch(stage.mirror.process.stderr(), /: cut,/);
  });
}

test('blobs that the registry cuts are resumed inside of one body', { skip }, async (t) => {
  const stage = await open(t);
  stage.service.faults.push({ status: 404 });
  stage.pipe.faults.push({ match: /GET .*\/blobs\//, cutAfter: 1_000_000, times: 3 });
  const answer = await askMirror(stage, `team/app/blobs/${stage.layer}`);
  assert.equal(await digestOf(answer), stage.layer);
});

test(
  'without any source the body is cut and its retry refused, so that the engine asks the registry',
  { skip },
  async (t) => {
    const stage = await open(t);
    stage.service.faults.push({ status: 404 });
    stage.pipe.faults.push({ match: /GET .*\/blobs\//, silent: true });
    const answer = await askMirror(stage, `team/app/blobs/${stage.layer}`);
    assert.equal(answer.status, 200, 'headers come at once');
    await assert.rejects(answer.arrayBuffer());
    const retry = await askMirror(stage, `team/app/blobs/${stage.layer}`);
    assert.equal(retry.status, 503);
    assert.match(stage.mirror.process.stderr(), /: cut, the engine asks the registry itself/);
  },
);

test(
  'a registry that hangs is 504, and what a caller was given before is given again',
  { skip },
  async (t) => {
    const stage = await open(t);
    await (await askMirror(stage, 'team/app/manifests/1.0', ACCEPT)).arrayBuffer();
    assert.equal(await digestOf(await askMirror(stage, `team/app/blobs/${stage.layer}`)), stage.layer);
    stage.pipe.faults.push({ silent: true });
    const unknown = await askMirror(stage, 'team/app/manifests/2.0', ACCEPT);
    assert.equal(unknown.status, 504);
    const known = await askMirror(stage, 'team/app/manifests/1.0', ACCEPT);
    assert.equal(known.status, 200);
    assert.match(known.headers.get('warning') ?? '', /does not answer/);
    assert.equal(await digestOf(await askMirror(stage, `team/app/blobs/${stage.layer}`)), stage.layer);
    const stranger = await askMirror(stage, 'team/app/manifests/1.0', {
      ...ACCEPT,
      authorization: 'Bearer other',
    });
    assert.equal(stranger.status, 504, 'not to whom it was not given');
  },
);

test('a registry that limits requests is 503: engines would wait for a 429', { skip }, async (t) => {
  const stage = await open(t);
  stage.pipe.faults.push({ match: /manifests\/1\.0/, status: 429 });
  assert.equal((await askMirror(stage, 'team/app/manifests/1.0', ACCEPT)).status, 503);
});

async function digestOf(answer: Response): Promise<string> {
  const bytes = Buffer.from(await answer.arrayBuffer());
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
