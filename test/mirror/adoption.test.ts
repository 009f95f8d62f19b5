import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { skipWithoutContainerd, startContainerd } from '../helpers/containerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { openStage } from '../helpers/stage.ts';
import { startMirrorOf } from './kit.ts';

test(
  'containerd: its blobs and ours are one file; what it removes stays ours, and serves while the registry is down',
  { skip: skipWithoutContainerd('debian', 'docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({ layers: [randomLayer(4_000_000, 'a')] });
    await stage.push(image.manifest, 'team/app:1.0');
    const [first, second] = [await startContainerd(t, 'debian'), await startContainerd(t, 'debian')];
    const mirror = await startMirrorOf(t, stage, ['--content-store', first.contentStore]);
    const text = `server = "http://${stage.pipe.host}"\n[host."${mirror.url}"]\n  capabilities = ["pull", "resolve"]\n`;
    for (const each of [first, second]) await each.useMirror(stage.pipe.host, text);
    const name = stage.name('team/app:1.0');
    const pulled = await first.crictl('pull', name);
    assert.equal(pulled.code, 0, pulled.stderr + first.log());

    const hex = image.layers[0]?.digest.slice('sha256:'.length) ?? '';
    const [ours, theirs] = [join(mirror.node.store, 'blobs/sha256', hex), join(first.contentStore, hex)];
    const { ino } = await stat(theirs);
    while ((await stat(ours)).ino !== ino) await sleep(50);
    const removed = await first.crictl('rmi', name);
    assert.equal(removed.code, 0, removed.stderr);
    while ((await stat(ours)).nlink > 1) await sleep(50);

    stage.pipe.faults.push({ silent: true });
    const again = await second.crictl('pull', name);
    assert.equal(again.code, 0, again.stderr + second.log());
  },
);
