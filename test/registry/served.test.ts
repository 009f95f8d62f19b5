import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { openTorrentService } from '../../src/registry/open-torrent-service.ts';
import type { TorrentAnswer, TorrentService } from '../../src/registry/repository.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startTokenServer } from '../helpers/token-server.ts';
import { startService } from '../helpers/torrent-service.ts';
import { accessTo, failure } from './access.ts';
import { descriptorOf } from './descriptor.ts';

const skip = skipWithout('docker-registry', 'openssl');
const ADA = { kind: 'basic', username: 'ada', password: 'engine-engine' } as const;

test(
  'quayctl serve in front of a registry with tokens gives a torrent to who may pull',
  { skip },
  async (t) => {
    const tokens = await startTokenServer(t, { users: { ada: ADA.password } });
    const registry = await startRegistry(t, { auth: tokens.auth });
    const layout = await TestLayout.create(await tempDirectory(t));
    const image = await layout.addImage({ layers: [randomLayer(2_000_000, 'a')] });
    await pushImage(layout, image.manifest, {
      url: registry.url,
      repository: 'team/app',
      tag: '1.0',
      authorization: tokens.authorization('repository:team/app:pull,push'),
    });
    const served = await startService(t, { upstream: registry.url, insecure: true });
    const blob = descriptorOf(image.layers[0]);

    const open = (credential: typeof ADA | undefined): TorrentService => {
      const access = accessTo(t, registry.host, credential === undefined ? {} : { credential });
      return openTorrentService({
        http: access.http,
        repository: openRepository(access, 'team/app'),
        registry: registry.host,
        name: 'team/app',
        service: new URL(served.url),
        insecure: false,
        sendCredentials: false,
        hostsWithoutTorrents: { isSilent: () => Promise.resolve(false), remember: () => Promise.resolve() },
      });
    };
    const service = open(ADA);
    let answer: TorrentAnswer;
    do {
      answer = await service.torrent(blob, 10, t.signal);
      if (answer.kind === 'hashing') await sleep(50);
    } while (answer.kind === 'hashing');
    assert.ok(answer.kind === 'torrent', JSON.stringify(answer));
    const metainfo = decodeTorrent(answer.bytes);
    assert.equal(metainfo.geometry.length, blob.size);
    assert.equal(metainfo.digest, blob.digest);

    assert.equal((await failure(open(undefined).torrent(blob, 0, t.signal))).code, 'unauthorized');
  },
);
