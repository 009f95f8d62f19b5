import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

test(
  '/readyz: a service is ready while it can give something, whether its registry answers or not',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const registry = await startRegistry(t);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] });
    await pushImage(layout, image.manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const service = await startService(t, { upstream: registry.url, permissionGraceMs: 4000 });
    const ready = async (wanted: string): Promise<number> => {
      for (;;) {
        const answer = await fetch(`${service.url}/readyz`);
        const said = (await answer.json()) as object;
        assert.deepEqual(Object.keys(said), ['status'], 'one word, and nothing of anybody');
        if ((said as { status: string }).status === wanted) return answer.status;
        await delay(100);
      }
    };
    assert.equal(await ready('ok'), 200);
    await registry.kill();
    assert.equal(await ready('unavailable'), 503);
    await registry.restart();
    assert.equal(await ready('ok'), 200);
    const answer = await service.torrent('team/app', image.layers[0]?.digest ?? '');
    const { trackers, infoHash } = decodeTorrent(await answer.bytes());
    await registry.kill();
    assert.equal(await ready('degraded'), 200);
    assert.equal(await ready('unavailable'), 503, 'the grace is over');
    const peer = `info_hash=${infoHash.replace(/../g, '%$&')}&peer_id=-XX0000-000000000000&port=7000&left=0`;
    await (await fetch(`${trackers[0]?.announceUrl ?? ''}&${peer}`)).bytes();
    assert.equal(await ready('degraded'), 200);
  },
);
