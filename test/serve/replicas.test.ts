import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { Http } from '../../src/http/http.ts';
import { decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { rotateKey } from '../../src/serve/tokens/secret-file.ts';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import { announceTo } from '../../src/swarm/tracker/tracker.ts';
import { freePort, startBalancer, type Balancer } from '../helpers/balancer.ts';
import { startChihaya } from '../helpers/chihaya.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { startProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';
import { emptyStorage, fullStorage, node } from '../swarm/kit.ts';

const TORRENT = { accept: 'application/x-bittorrent' };

interface Replicas {
  readonly services: readonly TestService[];
  readonly balancer: Balancer;
  readonly secretFile: string;
  readonly blob: Buffer;
  readonly torrent: (service: TestService) => Promise<Metainfo>;
}

/** Two services with one secret file and one public URL, behind a plain balancer, each with a data directory of its own. */
async function replicas(t: TestContext, announce: string, bytes = 1_500_000): Promise<Replicas> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage(
    { layers: [randomLayer(bytes, 'a')], architecture: 'amd64' },
    'team/app:1.0',
  );
  const digest = image.layers[0]?.digest ?? '';
  const balancer = await startBalancer(t);
  const secretFile = join(await tempDirectory(t, 'shared'), 'secret.json');
  const services = await Promise.all(
    [1, 2].map(() =>
      startService(t, {
        upstream: `oci:${layout.directory}`,
        publicUrl: balancer.url,
        aliases: ['quay.example'],
        announce,
        secretFile,
      }),
    ),
  );
  balancer.targets.push(...services.map(({ url }) => Number(new URL(url).port)));
  const torrent = async (service: TestService): Promise<Metainfo> =>
    decodeTorrent(await (await service.torrent('team/app', digest)).bytes());
  return { services, balancer, secretFile, blob: await layout.blob(digest), torrent };
}

/** A seed with the torrent of one replica, a leech with that of the other, and no other source. */
async function exchange(
  t: TestContext,
  { services, blob, torrent }: Replicas,
  seedIsKnown: () => Promise<void> = async () => {},
): Promise<void> {
  const [first, second] = services;
  assert.ok(first !== undefined && second !== undefined);
  const warnings: string[] = [];
  const options = { onWarning: (message: string) => warnings.push(message) };
  const { signal } = t;
  await node(t, options).join({ metainfo: await torrent(first), storage: fullStorage(blob), signal });
  await seedIsKnown();
  const storage = emptyStorage(blob.length);
  const leech = await node(t, options).join({ metainfo: await torrent(second), storage, signal });
  await leech.done;
  assert.deepEqual(storage.bytes, blob);
  assert.deepEqual(warnings, []);
}

test('two replicas are one service: the same swarm, web seeds and keys', async (t) => {
  const made = await replicas(t, 'http://tracker.example/announce');
  const [first, second] = made.services;
  assert.ok(first !== undefined && second !== undefined);
  const torrent = await made.torrent(first);
  const [url = ''] = torrent.urlList;
  // The other replica has never hashed the blob.
  const elsewhere = url.replace(made.balancer.url, second.url);
  const range = { headers: { range: 'bytes=100-199' } };
  assert.deepEqual(Buffer.from(await (await fetch(elsewhere, range)).bytes()), made.blob.subarray(100, 200));
  assert.equal((await made.torrent(second)).infoHash, torrent.infoHash);
  for (let turn = 0; turn < 4; turn++) {
    const answer = await fetch(url, { headers: { connection: 'close' } });
    assert.deepEqual(Buffer.from(await answer.bytes()), made.blob);
  }

  const added = await rotateKey(made.secretFile);
  t.mock.method(performance, 'now', () => 1e9);
  for (const service of made.services) {
    const set = await (await fetch(`${service.url}/.well-known/jwks.json`)).text();
    assert.ok(set.includes(added.kid));
  }
});

test('whichever replica a request comes to, every file of an image comes in the end', async (t) => {
  const { balancer, services, blob } = await replicas(t, 'http://tracker.example/announce', 30_000_000);
  const seen: string[] = [];
  const ask = async (path: string, headers: Record<string, string> = {}): Promise<Buffer | undefined> => {
    // A connection for each request: the next one comes to the other replica.
    const answer = await fetch(balancer.url + path, { headers: { ...headers, connection: 'close' } });
    seen.push(`${answer.status} ${path}`);
    const bytes = Buffer.from(await answer.bytes());
    assert.ok(answer.status === 200 || answer.status === 202, `${answer.status} ${path}: ${String(bytes)}`);
    return answer.status === 200 ? bytes : undefined;
  };
  const until = async (path: string, headers: Record<string, string> = {}): Promise<Buffer> => {
    for (;;) {
      const bytes = await ask(path, headers);
      if (bytes !== undefined) return bytes;
    }
  };
  const host = 'quay.example';
  const aci = `/c1/aci/${host}/team/app/1.0`;
  // As a plain rkt: the signature, the image, nothing twice. Then the signature from the other replica.
  const signature = await ask(`${aci}/aci.asc/linux/amd64/`);
  const image = await ask(`${aci}/aci/linux/amd64/`);
  assert.ok(signature !== undefined && image !== undefined, seen.join('\n'));
  for (const [path, headers] of [
    [`/c1/torrent/team/app/blobs/${digestOf(blob)}?ns=quay.example`, TORRENT],
    ['/c1/squash/team/app/1.0', TORRENT],
    ['/c1/squash/team/app/1.0', {}],
    [`${aci}/aci/linux/amd64/`, TORRENT],
    [`${aci}/aci/linux/amd64/`, {}],
    [`${aci}/aci.asc/linux/amd64/`, {}],
  ] as const) {
    const [one, other] = [await until(path, headers), await until(path, headers)];
    if (headers === TORRENT) assert.equal(decodeTorrent(one).infoHash, decodeTorrent(other).infoHash, path);
    // Each replica signs at its own time, the same bytes.
    else if (!path.includes('aci.asc')) assert.ok(one.equals(other), path);
  }
  assert.ok((await until(`${aci}/aci/linux/amd64/`)).equals(image));
  assert.equal(services.length, 2);
});

test(
  'with opentracker as external tracker peers of two replicas find each other',
  { skip: skipWithout('opentracker') },
  async (t) => {
    const port = await freePort();
    const made = await replicas(t, `http://127.0.0.1:${port}/announce`);
    const [first] = made.services;
    assert.ok(first !== undefined);
    const { infoHash } = await made.torrent(first);
    const directory = await tempDirectory(t, 'opentracker');
    await chmod(directory, 0o755);
    await writeFile(join(directory, 'whitelist'), `${infoHash}\n`);
    // As root it changes its root to that directory, else it changes to it.
    const args = ['-i', '127.0.0.1', '-p', String(port), '-d', directory, '-w', 'whitelist'];
    const tracker = startProcess(programPath('opentracker'), args);
    t.after(() => tracker.kill().then(() => undefined));
    while (
      !(await fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false,
      ))
    )
      await sleep(20);
    // It forbids to ask again within 15 minutes: who comes before the seed would wait as long.
    const complete = async (): Promise<boolean> => {
      const url = `http://127.0.0.1:${port}/scrape?info_hash=${infoHash.replace(/../g, '%$&')}`;
      const answer = await fetch(url).then(
        (response) => response.text(),
        () => '',
      );
      return answer.includes('8:completei1e');
    };
    await exchange(t, made, async () => {
      while (!(await complete())) await sleep(50);
    });
    assert.equal((await fetch(`${first.url}/announce`)).status, 404, 'the embedded tracker is off');
  },
);

test("Chihaya's check admits the tokens of both replicas, and only them", async (t) => {
  const chihaya = await startChihaya(t);
  const made = await replicas(t, chihaya.announce);
  const [first, second] = made.services;
  assert.ok(first !== undefined && second !== undefined);
  await chihaya.configure({
    issuer: made.balancer.url,
    audience: chihaya.announce,
    jwkSetUrl: `${made.balancer.url}/.well-known/jwks.json`,
  });
  await exchange(t, made);

  const { infoHash, trackers } = await made.torrent(first);
  const url = trackers[0]?.announceUrl ?? '';
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  t.after(() => http.close());
  const ask = (tracker: string, hash: string): Promise<object> =>
    announceTo(
      new TrackerAddress(tracker),
      {
        infoHash: hash,
        peerId: 'bb'.repeat(20),
        port: 7000,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        numwant: 1,
      },
      http,
      t.signal,
    );
  await ask(url, infoHash);
  await assert.rejects(ask(chihaya.announce, infoHash), /missing jwt/);
  await assert.rejects(ask(url, '11'.repeat(20)), /invalid jwt/);
  await assert.rejects(ask(url.slice(0, -20), infoHash), /invalid jwt/);
  const stranger = await replicas(t, chihaya.announce);
  const [other] = stranger.services;
  assert.ok(other !== undefined);
  const { trackers: foreign } = await stranger.torrent(other);
  await assert.rejects(ask(foreign[0]?.announceUrl ?? '', infoHash), /invalid jwt/);
});
