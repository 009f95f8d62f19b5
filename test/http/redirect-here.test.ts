import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { RegistryUpstream } from '../../src/serve/upstream/registry-upstream.ts';
import { startServer } from '../helpers/http-server.ts';
import { OUTSIDE_ADDRESS, outsideAddress, skipWithout } from '../helpers/programs.ts';
import { accessTo, collect, failure } from '../registry/access.ts';

const SKIP = { skip: skipWithout(OUTSIDE_ADDRESS) };
const BYTES = Buffer.from('only this machine may read it');
const BLOB = { mediaType: 'application/octet-stream', digest: digestOf(BYTES), size: BYTES.length };

/**
 * `registry.test` is at an address of this machine that others reach, too, and in the eyes of quayctl is elsewhere;
 * `local.test` and one address of `both.test` lead to loopback, where a server waits for nobody.
 */
async function stage(t: TestContext) {
  const address = outsideAddress() ?? assert.fail();
  const local = await startServer(t, (_, response) => void response.end(BYTES));
  let location = '';
  const registry = await startServer(
    t,
    (request, response) => {
      if (request.url === '/v2/') response.end('{}');
      else if (location === '') response.writeHead(404).end();
      else response.writeHead(307, { location }).end();
    },
    undefined,
    { address, port: 0 },
  );
  const v4 = (each: string) => ({ address: each, family: 4 });
  const names: Readonly<Record<string, readonly { address: string; family: number }[]>> = {
    'registry.test': [v4(address)],
    'local.test': [v4('127.0.0.1')],
    'both.test': [v4(address), v4('127.0.0.1')],
  };
  const lookup = (name: string) => Promise.resolve(names[name] ?? assert.fail(name));
  const port = (host: string): string => host.slice(host.lastIndexOf(':'));
  const name = `registry.test${port(registry.host)}`;
  const access = accessTo(t, name, { insecure: true, lookup });
  return {
    access,
    name,
    local,
    localPort: port(local.host),
    repository: openRepository(access, 'team/app'),
    leadTo: (target: string) => void (location = target),
  };
}

const PLACES = [
  'http://127.0.0.1PORT/',
  'http://0x7f.1PORT/',
  'http://[::1]PORT/',
  'http://[::ffff:127.0.0.1]PORT/',
  'http://0.0.0.0PORT/',
  'http://local.testPORT/',
  'http://both.testPORT/',
  'http://169.254.169.254/latest/meta-data/',
];

test('a registry elsewhere cannot lead us to what only this machine reaches', SKIP, async (t) => {
  const { repository, leadTo, local, localPort } = await stage(t);
  for (const place of PLACES) {
    leadTo(place.replace('PORT', localPort));
    const { code, message } = await failure(repository.manifest('1.0', t.signal));
    assert.equal(code, 'protocol', place);
    assert.match(message, /leads to this machine/, place);
    assert.equal((await failure(collect(repository.blob(BLOB, 0, BLOB.size, t.signal)))).code, 'protocol');
  }
  assert.equal(local.requests.length, 0);
});

test('nor can the places that its manifests name for foreign layers', SKIP, async (t) => {
  const { repository, local, localPort } = await stage(t);
  const urls = PLACES.map((place) => place.replace('PORT', localPort));
  const { code } = await failure(collect(repository.blob({ ...BLOB, urls }, 0, BLOB.size, t.signal)));
  assert.equal(code, 'not-found');
  assert.equal(local.requests.length, 0);
});

test('nor can the upstream of a torrent service', SKIP, async (t) => {
  const { access, name, leadTo, local, localPort } = await stage(t);
  const upstream = new RegistryUpstream(new URL(`http://${name}`), access.http);
  const resource = { kind: 'blob', repository: 'team/app', digest: BLOB.digest } as const;
  for (const place of PLACES) {
    leadTo(place.replace('PORT', localPort));
    const answer = upstream.ask({ method: 'GET', resource, follow: true }, t.signal);
    assert.equal((await failure(answer)).code, 'protocol', place);
  }
  assert.equal(local.requests.length, 0);
});
