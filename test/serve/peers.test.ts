import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { calculateJwkThumbprint, decodeJwt, exportJWK } from 'jose';
import { decodeTorrent, encodeTorrent, withoutSecrets } from '../../src/metainfo/metainfo.ts';
import type { TorrentServiceOptions } from '../../src/serve/torrent-service.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const SOME_KEY = createHash('sha256').update('a key').digest('base64url');

async function served(
  t: TestContext,
  options: Partial<TorrentServiceOptions> = {},
): Promise<{ service: TestService; digest: string }> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage(
    { layers: [{ entries: [{ name: 'a', content: 'a' }] }] },
    'team/app:1.0',
  );
  const service = await startService(t, { upstream: `oci:${layout.directory}`, ...options });
  return { service, digest: image.layers[0]?.digest ?? '' };
}

async function torrentOf(
  service: TestService,
  path: string,
  key?: string,
): Promise<ReturnType<typeof decodeTorrent>> {
  const headers = {
    accept: 'application/x-bittorrent',
    ...(key === undefined ? {} : { 'quayctl-key': key }),
  };
  const answer = await fetch(`${service.url}${path}`, { headers });
  assert.equal(answer.status, 200);
  return decodeTorrent(await answer.bytes());
}

const tokenOf = ({ trackers }: ReturnType<typeof decodeTorrent>): string =>
  new URL(trackers[0]?.announceUrl ?? '').searchParams.get('jwt') ?? '';

test('the key that a node names stands in the announce tokens of all its torrents, and in nobody else’s', async (t) => {
  const { service, digest } = await served(t, { aliases: ['quay.example'] });
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const thumbprint = await calculateJwkThumbprint(await exportJWK(publicKey));
  const paths = [
    `/c1/torrent/team/app/blobs/${digest}?ns=${service.host}&wait=30`,
    '/c1/squash/team/app/1.0?wait=30',
    `/c1/aci/quay.example/team/app/1.0/aci/linux/amd64/?wait=30`,
  ];
  for (const path of paths) {
    const bound = await torrentOf(service, path, thumbprint);
    assert.deepEqual(decodeJwt(tokenOf(bound))['cnf'], { jkt: thumbprint }, path);
    assert.equal(decodeJwt(tokenOf(await torrentOf(service, path)))['cnf'], undefined);
    assert.equal(bound.peers, undefined, 'any peer, by default');
  }
  for (const wrong of ['x', `${SOME_KEY}=`, `${SOME_KEY},${SOME_KEY}`, '']) {
    const headers = { accept: 'application/x-bittorrent', 'quayctl-key': wrong };
    assert.equal((await fetch(`${service.url}${paths[0]}`, { headers })).status, 400, wrong);
  }
});

test('with --peers tls the torrent says so outside info, also when it is kept', async (t) => {
  const open = await served(t);
  const { service, digest } = await served(t, { peers: 'tls', dataDirectory: open.service.data });
  const path = `/c1/torrent/team/app/blobs/${digest}?ns=`;
  const tls = await torrentOf(service, `${path}${service.host}&wait=30`, SOME_KEY);
  const any = await torrentOf(open.service, `${path}${open.service.host}&wait=30`, SOME_KEY);
  assert.deepEqual([tls.peers, any.peers, tls.infoHash === any.infoHash], ['tls', undefined, true]);
  const announce = [tls.trackers[0]?.announceUrl ?? ''];
  const bytes = encodeTorrent(tls.infoBytes, { announce, peers: 'tls' });
  assert.equal(decodeTorrent(withoutSecrets(bytes)).peers, 'tls');
});

test(
  'with --peers tls the tracker names peers to holders of a bound token only',
  { skip: skipWithoutNeighbour() },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const { service, digest } = await served(t, { peers: 'tls', listen: { host: neighbour.here, port: 0 } });
    const path = `/c1/torrent/team/app/blobs/${digest}?ns=${service.host}&wait=30`;
    const ask = async (key?: string): Promise<string> => {
      const torrent = await torrentOf(service, path, key);
      const hash = torrent.infoHash.replace(/../g, '%$&');
      const url = `${torrent.trackers[0]?.announceUrl ?? ''}&info_hash=${hash}&peer_id=-XX0000-000000000000&port=7000&left=0`;
      const [answer] = await neighbour.ask([{ url }]);
      return answer?.body ?? '';
    };
    assert.match(await ask(), /failure reason.*key/);
    assert.doesNotMatch(await ask(SOME_KEY), /failure reason/);
  },
);

test('large layers too: the info hash does not depend on the rule', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(2_000_000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, peers: 'tls' });
  const path = `/c1/torrent/team/app/blobs/${image.layers[0]?.digest}?ns=${service.host}&wait=30`;
  const [one, other] = [await torrentOf(service, path), await torrentOf(service, path, SOME_KEY)];
  assert.equal(one.infoHash, other.infoHash);
});
