import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { readChihayaConfig, startChihaya } from '../helpers/chihaya.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const folder = join(import.meta.dirname, '../../scripts/deploy');
const FILES = ['chihaya-memory.yaml', 'chihaya-redis.yaml'] as const;

for (const file of FILES) {
  test(`${file} has all without which a Chihaya does not start, or is of no use`, async () => {
    const yaml = await readFile(join(folder, file), 'utf8');
    const { issuer, audience, jwkSetUrl, https, realIpHeader } = readChihayaConfig(yaml);
    assert.ok(yaml.includes(`--announce ${audience}\n`), 'the comment starts the service with that audience');
    assert.equal(jwkSetUrl, `${issuer}/.well-known/jwks.json`);
    // Who ends TLS knows the addresses.
    assert.equal(realIpHeader === undefined, https);
    for (const line of [/announce_routes.*\n/, /metrics_addr.*\n/, /redis_broker.*\n/, /^ {4}addr.*\n/m]) {
      if (line.test(yaml))
        assert.throws(() => readChihayaConfig(yaml.replace(line, '')), Error, String(line));
    }
  });
}

test('behind a proxy peers have the addresses of the header that the file names', async (t) => {
  const { realIpHeader = '' } = readChihayaConfig(await readFile(join(folder, 'chihaya-redis.yaml'), 'utf8'));
  const chihaya = await startChihaya(t, { realIpHeader });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { layers } = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, announce: chihaya.announce });
  const { infoHash, trackers } = decodeTorrent(
    await (await service.torrent('team/app', layers[0]?.digest ?? '')).bytes(),
  );
  const ask = async (id: string, address: string, left: number): Promise<string> => {
    const hash = infoHash.replaceAll(/../g, '%$&');
    const query = `info_hash=${hash}&peer_id=${id.repeat(20)}&port=258&left=${left}`;
    const answer = await fetch(`${trackers[0]?.announceUrl ?? ''}&${query}`, {
      headers: { [realIpHeader]: address },
    });
    const bytes = Buffer.from(await answer.bytes());
    const [, peers] = bytes.toString('latin1').split('5:peers6:');
    return peers === undefined ? bytes.toString() : [...Buffer.from(peers.slice(0, 6), 'latin1')].join('.');
  };
  const jwkSetUrl = `${service.url}/.well-known/jwks.json`;
  await assert.rejects(
    chihaya.configure({ issuer: '', audience: '', jwkSetUrl: 'http://127.0.0.1:9/' }),
    /failed to fetch initial JWK Set/,
  );
  await chihaya.configure({ issuer: `${service.url}/`, audience: chihaya.announce, jwkSetUrl });
  assert.match(await ask('s', '10.1.2.3', 0), /invalid jwt/, 'a slash more in the issuer');
  await chihaya.configure({ issuer: service.url, audience: chihaya.announce, jwkSetUrl });
  assert.equal(await ask('s', '10.1.2.3', 0), '10.1.2.3.1.2', 'alone it is told of itself');
  assert.equal(await ask('l', '10.1.2.4', 1), '10.1.2.3.1.2', 'the seed');
  assert.equal(await ask('s', '10.1.2.3', 0), '10.1.2.4.1.2', 'the leech');
});
