import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

test('Prometheus reads requests, hashing, swarms and bytes by source, and no names', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
  const digest = image.layers[0]?.digest ?? '';
  const place = { host: '127.0.0.1', port: 0 };
  const build = { version: '1.2.3', node: '24.0.0' };
  const service = await startService(t, { upstream: `oci:${layout.directory}`, admin: { place }, build });
  const torrent = decodeTorrent(await (await service.torrent('team/app', digest)).bytes());
  const blob = await (await fetch(torrent.urlList[0] ?? '')).bytes();
  await (await fetch(`${service.url}/v2/team/app/manifests/1.0`)).bytes();
  const hash = torrent.infoHash.replace(/../g, '%$&');
  const query = `info_hash=${hash}&peer_id=-XX0000-000000000000&port=7000&left=0`;
  await (await fetch(`${torrent.trackers[0]?.announceUrl ?? ''}&${query}`)).bytes();
  await (await fetch(`${service.url}/announce?${query}`)).bytes();
  await (await fetch(`${service.url}/team-secret/nothing`)).bytes();

  const answer = await fetch(`${service.adminUrl}/metrics`);
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=/);
  const text = await answer.text();
  for (const line of [
    'quayctl_requests_total{route="c1",method="GET",status="200"} 1',
    'quayctl_requests_total{route="none",method="GET",status="404"} 1',
    'quayctl_hashed_blobs_total 1',
    `quayctl_hashed_bytes_total ${blob.length}`,
    `quayctl_sent_bytes_total{source="web_seed"} ${blob.length}`,
    'quayctl_hashing_passes 0',
    'quayctl_announces_total{outcome="accepted"} 1',
    'quayctl_announces_total{outcome="refused"} 1',
    'quayctl_swarms 1',
    'quayctl_cache_blobs 0',
    'quayctl_peers 1',
    'quayctl_build_info{version="1.2.3",node="24.0.0"} 1',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line}\n${text.slice(0, 3000)}`);
  }
  assert.match(text, /^quayctl_sent_bytes_total\{source="registry"\} \d{3,4}$/m);
  assert.match(text, /^process_resident_memory_bytes \d+$/m);
  assert.doesNotMatch(text, /team|127\.0\.0\.1/);
});
