import assert from 'node:assert/strict';
import { copyFile, mkdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDigest } from '../../src/image/digest.ts';
import { parseManifest } from '../../src/image/manifest.ts';
import { checkLogin, openRepository } from '../../src/registry/open-repository.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../helpers/images.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { registryBlobPath, startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { accessTo, collect } from './access.ts';
import { descriptorOf } from './descriptor.ts';

const skip = skipWithout('docker-registry', 'htpasswd', 'openssl');
const LAYER_BYTES = 3_000_000;
const USER = { kind: 'basic', username: 'ada', password: 'l:ove lace' } as const;

interface Pushed {
  readonly registry: TestRegistry;
  readonly image: BuiltImage;
  readonly layer: BuiltImage['layers'][number];
  readonly bytes: Buffer;
}

async function pushed(t: Scope, registry: TestRegistry, authorization?: string): Promise<Pushed> {
  const layout = await TestLayout.create(await tempDirectory(t));
  const image = await layout.addImage({ layers: [randomLayer(LAYER_BYTES, 'a')] });
  const credentials = authorization === undefined ? {} : { authorization };
  const target = { url: registry.url, repository: 'team/app', tag: '1.0', ...credentials };
  await pushImage(layout, image.manifest, target);
  const layer = image.layers[0] as BuiltImage['layers'][number];
  return {
    registry,
    image,
    layer,
    bytes: await layout.blob(layer.digest),
  };
}

test('a real registry, anonymous and plain HTTP on loopback: manifests and ranges', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const repository = openRepository(accessTo(t, app.registry.host), 'team/app');
  const byTag = await repository.manifest('1.0', t.signal);
  assert.equal(byTag.descriptor.digest, app.image.manifest.digest);
  assert.equal(byTag.descriptor.mediaType, 'application/vnd.oci.image.manifest.v1+json');
  assert.equal(parseManifest(byTag.bytes, byTag.descriptor.mediaType).kind, 'manifest');
  const byDigest = await repository.manifest(byTag.descriptor.digest, t.signal);
  assert.deepEqual(byDigest, byTag);

  const blob = descriptorOf(app.layer);
  for (const [start, end] of [
    [0, blob.size],
    [0, 1],
    [blob.size - 1, blob.size],
    [100_000, 1_500_000],
    [5, 5],
  ] as const) {
    const got = await collect(repository.blob(blob, start, end, t.signal));
    assert.ok(got.equals(app.bytes.subarray(start, end)), `${start}-${end}`);
  }
});

test('a real registry over HTTPS, known by certs.d', { skip }, async (t) => {
  const certificate = await makeCertificate(t);
  const registry = await startRegistry(t, {
    tls: { certificate: certificate.certificate, key: certificate.key },
  });
  const stranger = accessTo(t, registry.host);
  await assert.rejects(checkLogin(stranger, t.signal), { code: 'unreachable', hint: /certs\.d/ });
  const certsDirectory = await tempDirectory(t, 'certs');
  await mkdir(join(certsDirectory, registry.host));
  await copyFile(certificate.certificate, join(certsDirectory, registry.host, 'ca.crt'));
  const access = accessTo(t, registry.host, { certsDirectory });
  await checkLogin(access, t.signal);
  await assert.rejects(openRepository(access, 'team/app').manifest('1.0', t.signal), { code: 'not-found' });
  assert.ok(registry.requests().every((line) => !line.includes(' 400')));
});

test('what is not there is told apart', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const access = accessTo(t, app.registry.host);
  const missing = { ...descriptorOf(app.layer), digest: parseDigest(`sha256:${'0'.repeat(64)}`) };
  await assert.rejects(openRepository(access, 'team/app').manifest('2.0', t.signal), {
    code: 'not-found',
    message: `${app.registry.host}/team/app:2.0: no such image`,
  });
  await assert.rejects(collect(openRepository(access, 'team/app').blob(missing, 0, 9, t.signal)), {
    code: 'not-found',
    message: /no blob sha256:000000000000 of team\/app/,
  });
});

test('sizes that lie are verification errors', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const repository = openRepository(accessTo(t, app.registry.host), 'team/app');
  const blob = descriptorOf(app.layer);
  const longer = { ...blob, size: blob.size + 1 };
  await assert.rejects(collect(repository.blob(longer, 0, longer.size, t.signal)), { code: 'verification' });
  await assert.rejects(collect(repository.blob(longer, 5, longer.size, t.signal)), { code: 'verification' });
  await truncate(registryBlobPath(app.registry, blob.digest), 1_000_000);
  await assert.rejects(collect(repository.blob(blob, 0, blob.size, t.signal)), { code: 'verification' });
  await assert.rejects(collect(repository.blob(blob, 2_000_000, blob.size, t.signal)), {
    code: 'verification',
  });
});

test('a transfer that is cut again and again goes on where it was', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const proxy = await startHttpFaultProxy(t, app.registry.url);
  proxy.faults.push({ match: /\/blobs\//, cutAfter: 400_000, times: 6 });
  const repository = openRepository(accessTo(t, proxy.host), 'team/app');
  const blob = descriptorOf(app.layer);
  const got = await collect(repository.blob(blob, 0, blob.size, t.signal));
  assert.ok(got.equals(app.bytes));
  assert.ok(proxy.traffic.toClient < blob.size + 200_000, 'nothing is asked for twice');
});

test('a transfer that stalls is resumed', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const proxy = await startHttpFaultProxy(t, app.registry.url);
  proxy.faults.push({ match: /\/blobs\//, stallAfter: 1_000_000, times: 2 });
  const repository = openRepository(accessTo(t, proxy.host, { stallTimeoutMs: 200 }), 'team/app');
  const blob = descriptorOf(app.layer);
  const got = await collect(repository.blob(blob, 0, blob.size, t.signal));
  assert.ok(got.equals(app.bytes));
});

test('a reader that takes its time is not taken for a stall', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const proxy = await startHttpFaultProxy(t, app.registry.url);
  const repository = openRepository(accessTo(t, proxy.host, { stallTimeoutMs: 100 }), 'team/app');
  const blob = descriptorOf(app.layer);
  let [seen, chunks] = [0, 0];
  for await (const chunk of repository.blob(blob, 0, blob.size, t.signal)) {
    seen += chunk.length;
    if (chunks++ === 1) await sleep(400);
  }
  assert.equal(seen, blob.size);
  assert.equal(proxy.requests.filter((line) => line.includes('/blobs/')).length, 1);
});

test('a registry that goes away and comes back is waited for', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const proxy = await startHttpFaultProxy(t, app.registry.url);
  const repository = openRepository(accessTo(t, proxy.host), 'team/app');
  const blob = descriptorOf(app.layer);
  proxy.faults.push({ match: /\/blobs\//, stallAfter: 1_000_000, times: 1 });
  const chunks: Uint8Array[] = [];
  let back: Promise<void> | undefined;
  for await (const chunk of repository.blob(blob, 0, blob.size, t.signal)) {
    chunks.push(chunk);
    back ??= proxy
      .down()
      .then(() => sleep(400))
      .then(() => proxy.up());
  }
  await back;
  assert.ok(Buffer.concat(chunks).equals(app.bytes));
});

test('htpasswd: the right password, a wrong one, none', { skip }, async (t) => {
  const { username, password } = USER;
  const registry = await startRegistry(t, { auth: { kind: 'htpasswd', username, password } });
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const app = await pushed(t, registry, basic);

  const right = accessTo(t, registry.host, { credential: USER });
  await checkLogin(right, t.signal);
  const repository = openRepository(right, 'team/app');
  const { descriptor } = await repository.manifest('1.0', t.signal);
  assert.equal(descriptor.digest, app.image.manifest.digest);
  assert.equal((await collect(repository.blob(descriptorOf(app.layer), 0, 10, t.signal))).length, 10);

  const wrong = accessTo(t, registry.host, { credential: { ...USER, password: 'sesame-sesame' } });
  for (const attempt of [
    () => checkLogin(wrong, t.signal),
    () => openRepository(wrong, 'team/app').manifest('1.0', t.signal),
  ]) {
    await assert.rejects(attempt(), (error: Error & { hint?: string; code?: string }) => {
      assert.equal(error.code, 'unauthorized');
      assert.match(error.hint ?? '', /quayctl login 127\.0\.0\.1/);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /sesame/);
      return true;
    });
  }
  const none = openRepository(accessTo(t, registry.host), 'team/app');
  await assert.rejects(none.manifest('1.0', t.signal), { code: 'unauthorized', hint: /log in with/ });
});

test('a signal ends a transfer with its own reason', { skip }, async (t) => {
  const app = await pushed(t, await startRegistry(t));
  const proxy = await startHttpFaultProxy(t, app.registry.url);
  proxy.faults.push({ match: /\/blobs\//, stallAfter: 1000 });
  const repository = openRepository(accessTo(t, proxy.host), 'team/app');
  const abort = new AbortController();
  const reason = new Error('enough');
  const reading = collect(repository.blob(descriptorOf(app.layer), 0, app.layer.size, abort.signal));
  setTimeout(() => abort.abort(reason), 100);
  await assert.rejects(reading, (error) => error === reason);
});
