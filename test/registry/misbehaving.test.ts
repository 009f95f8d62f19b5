import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../../src/image/digest.ts';
import { openRepository, type OpenRepository } from '../../src/registry/open-repository.ts';
import { startServer, type TestServer } from '../helpers/http-server.ts';
import type { Scope } from '../helpers/processes.ts';
import { accessTo, collect, failure, type AccessOptions } from './access.ts';

const BYTES = randomBytes(300_000);
const BLOB = { mediaType: 'application/octet-stream', digest: digestOf(BYTES), size: BYTES.length };
const PASSWORD = 'correct-horse';
const ADA = { kind: 'basic', username: 'ada', password: PASSWORD } as const;
const SIGNATURE = 'c2lnbmVk';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A registry on loopback that answers `/v2/` well and everything else as told. */
async function registryThat(
  t: Scope,
  handler: Handler,
  options: AccessOptions = {},
): Promise<{ server: TestServer; repository: OpenRepository }> {
  const server = await startServer(t, (request, response) => {
    if (request.url === '/v2/') response.end('{}');
    else handler(request, response);
  });
  return { server, repository: openRepository(accessTo(t, server.host, options), 'team/app') };
}

/** Answers Range as it should be answered. */
const serve: Handler = (request, response) => {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  if (start === undefined) return void response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
  const part = BYTES.subarray(Number(start), Number(end) + 1);
  const place = `bytes ${start}-${end}/${BYTES.length}`;
  response.writeHead(206, { 'content-range': place, 'content-length': part.length }).end(part);
};

const askFor = (headers: Record<string, string>, status = 401): Handler => {
  return (_, response) => void response.writeHead(status, headers).end();
};

test('answers that are not what was asked for', async (t) => {
  const cases: [string, Handler, string][] = [
    ['another range', range(206, 'bytes 0-99/300000', BYTES.subarray(0, 100)), 'protocol'],
    [
      'a range past the end asked for',
      range(206, 'bytes 100-999/300000', BYTES.subarray(100, 1000)),
      'protocol',
    ],
    ['another size', range(206, 'bytes 100-199/300001', BYTES.subarray(100, 200)), 'verification'],
    ['no Content-Range', range(206, undefined, BYTES.subarray(100, 200)), 'protocol'],
    [
      'a body longer than its range',
      range(206, 'bytes 100-199/300000', BYTES.subarray(100, 300)),
      'protocol',
    ],
    [
      'many ranges',
      range(206, undefined, Buffer.from('--x'), { 'content-type': 'multipart/byteranges; boundary=x' }),
      'protocol',
    ],
    ['416 of another size', range(416, 'bytes */200000', Buffer.alloc(0)), 'verification'],
    ['416 for the whole, too', range(416, undefined, Buffer.alloc(0)), 'protocol'],
    ['204', range(204, undefined, Buffer.alloc(0)), 'protocol'],
  ];
  for (const [name, handler, code] of cases) {
    const { repository } = await registryThat(t, handler);
    const { code: got } = await failure(collect(repository.blob(BLOB, 100, 200, t.signal)));
    assert.equal(got, code, name);
  }
});

test('a chunked body longer than its range is told', async (t) => {
  const { repository } = await registryThat(t, (_, response) => {
    response.writeHead(206, { 'content-range': `bytes 100-199/${BYTES.length}` });
    response.write(BYTES.subarray(100, 200));
    setTimeout(() => response.end(BYTES.subarray(200, 300)), 20);
  });
  const { code } = await failure(collect(repository.blob(BLOB, 100, 200, t.signal)));
  assert.equal(code, 'protocol');
});

test('a server that ignores Range is read to the bytes that are wanted, and no further', async (t) => {
  const { repository } = await registryThat(t, (_, response) => {
    response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
  });
  for (const [start, end] of [
    [100, 200],
    [250_000, 300_000],
    [0, 300_000],
  ] as const) {
    const got = await collect(repository.blob(BLOB, start, end, t.signal));
    assert.ok(got.equals(BYTES.subarray(start, end)));
  }
});

test('a server that cuts ranges short is asked for the rest', async (t) => {
  const { server, repository } = await registryThat(t, (request, response) => {
    const [, start] = /^bytes=(\d+)-/.exec(request.headers.range ?? 'bytes=0-') ?? [];
    const from = Number(start);
    const part = BYTES.subarray(from, from + 100_000);
    response
      .writeHead(206, { 'content-range': `bytes ${from}-${from + part.length - 1}/${BYTES.length}` })
      .end(part);
  });
  const got = await collect(repository.blob(BLOB, 0, BYTES.length, t.signal));
  assert.ok(got.equals(BYTES));
  assert.equal(server.requests.filter(({ url }) => url !== '/v2/').length, 3);
});

test('a server that sends a byte at a time is given up', async (t) => {
  const { server, repository } = await registryThat(t, (request, response) => {
    const [, start] = /^bytes=(\d+)-/.exec(request.headers.range ?? 'bytes=0-') ?? [];
    const at = Number(start);
    response.writeHead(206, { 'content-range': `bytes ${at}-${BYTES.length - 1}/${BYTES.length}` });
    response.write(BYTES.subarray(at, at + 1), () => response.destroy());
  });
  const { code } = await failure(collect(repository.blob(BLOB, 0, BYTES.length, t.signal)));
  assert.equal(code, 'unreachable');
  assert.ok(server.requests.length < 10);
});

test('ranges keep their connection', async (t) => {
  const { server, repository } = await registryThat(t, serve);
  for (let at = 0; at < 20; at++) await collect(repository.blob(BLOB, at * 1000, at * 1000 + 1000, t.signal));
  const ports = new Set(server.requests.slice(-20).map(({ socket }) => socket.remotePort));
  // A request may begin before the connection of the last one is known to be free.
  assert.ok(ports.size <= 2, `${ports.size} connections`);
});

test('storage is shown no credential, and its signed URL is in no error', async (t) => {
  const storage = await startServer(t, (request, response) => {
    if (request.url?.includes('lost') === true) response.writeHead(403).end();
    else serve(request, response);
  });
  let lost = false;
  const { server, repository } = await registryThat(
    t,
    (request, response) => {
      if (request.headers.authorization === undefined) {
        return askFor({ 'www-authenticate': 'Basic realm="test"' })(request, response);
      }
      const location = `${storage.url}/${lost ? 'lost' : 'data'}?X-Amz-Signature=${SIGNATURE}`;
      response.writeHead(307, { location }).end();
    },
    { credential: ADA },
  );
  assert.equal((await collect(repository.blob(BLOB, 0, 1000, t.signal))).length, 1000);
  const asked = server.requests.length;
  await Promise.all(
    [1, 2, 3].map((at) => collect(repository.blob(BLOB, at * 1000, at * 1000 + 1000, t.signal))),
  );
  assert.equal(server.requests.length, asked, 'the storage is remembered');
  assert.deepEqual(
    new Set(storage.requests.map(({ headers }) => headers.authorization)),
    new Set([undefined]),
  );

  lost = true;
  const other = { ...BLOB, digest: digestOf(Buffer.from('other')) };
  const error = await failure(collect(repository.blob(other, 0, 1000, t.signal)));
  assert.equal(error.code, 'protocol');
  assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, new RegExp(SIGNATURE));
});

test('a signed URL that has expired leads back to the registry', async (t) => {
  let generation = 0;
  const storage = await startServer(t, (request, response) => {
    if (request.url === `/${generation}`) serve(request, response);
    else response.writeHead(403).end();
  });
  const { repository } = await registryThat(t, (_, response) => {
    response.writeHead(307, { location: `${storage.url}/${generation}` }).end();
  });
  await collect(repository.blob(BLOB, 0, 1000, t.signal));
  generation = 1;
  const got = await collect(repository.blob(BLOB, 1000, 2000, t.signal));
  assert.ok(got.equals(BYTES.subarray(1000, 2000)));
});

test('redirects that lead nowhere', async (t) => {
  for (const location of ['ftp://storage.test/x', 'file:///etc/passwd', 'http://[', '/again']) {
    const { server, repository } = await registryThat(t, (_, response) => {
      response.writeHead(307, { location }).end();
    });
    const { code } = await failure(repository.manifest('1.0', t.signal));
    assert.equal(code, 'protocol', location);
    assert.ok(server.requests.length <= 9);
  }
  const { repository } = await registryThat(t, askFor({}, 302));
  assert.equal((await failure(repository.manifest('1.0', t.signal))).code, 'protocol');
});

test('a foreign layer comes from the place that its manifest names, without a credential', async (t) => {
  const place = await startServer(t, (request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/here' }).end();
    else serve(request, response);
  });
  const { repository } = await registryThat(t, askFor({}, 404), { credential: ADA });
  const foreign = { ...BLOB, urls: ['ftp://x/', `${place.url}/moved`] };
  const got = await collect(repository.blob(foreign, 10, 20, t.signal));
  assert.ok(got.equals(BYTES.subarray(10, 20)));
  assert.equal(place.requests.at(-1)?.headers.authorization, undefined);
  const nowhere = { ...BLOB, digest: digestOf(Buffer.from('nowhere')) };
  assert.equal((await failure(collect(repository.blob(nowhere, 10, 20, t.signal)))).code, 'not-found');
});

test('429 is waited out as the registry asks, or told with what it asks', async (t) => {
  let refusals = 2;
  const first = await registryThat(t, (request, response) => {
    if (refusals-- > 0) response.writeHead(429, { 'retry-after': '0' }).end();
    else serve(request, response);
  });
  assert.equal((await collect(first.repository.blob(BLOB, 0, 10, t.signal))).length, 10);

  const patient = await registryThat(t, askFor({ 'retry-after': '3600' }, 429));
  const error = await failure(patient.repository.manifest('1.0', t.signal));
  assert.equal(error.code, 'rate-limited');
  assert.match(error.message, /asks to wait 3600 s/);
  assert.equal(patient.server.requests.filter(({ url }) => url !== '/v2/').length, 1);
});

test('5xx is tried again, then unreachable', async (t) => {
  const { server, repository } = await registryThat(t, askFor({ 'retry-after': '0' }, 503));
  const error = await failure(repository.manifest('1.0', t.signal));
  assert.equal(error.code, 'unreachable');
  assert.match(error.message, /answers 503/);
  assert.equal(server.requests.filter(({ url }) => url !== '/v2/').length, 4);
});

test('manifests without end, with endless headers, or of other bytes', async (t) => {
  const endless = await registryThat(t, (_, response) => {
    const chunk = Buffer.alloc(256 * 1024, ' ');
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    response.writeHead(200, { 'content-type': 'application/json' });
    more();
  });
  assert.equal((await failure(endless.repository.manifest('1.0', t.signal))).code, 'limit');

  const headers = await registryThat(t, (_, response) => {
    response.writeHead(200, { 'x-large': 'x'.repeat(100_000) }).end('{}');
  });
  assert.equal((await failure(headers.repository.manifest('1.0', t.signal))).code, 'limit');

  const other = await registryThat(t, (_, response) => void response.end('{}'));
  assert.equal((await failure(other.repository.manifest(BLOB.digest, t.signal))).code, 'verification');
});

test('a stale Docker-Content-Digest, or fields that stand twice, change nothing', async (t) => {
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const { repository } = await registryThat(t, (_, response) => {
    response.writeHead(200, [
      ['docker-content-digest', BLOB.digest],
      ['docker-content-digest', 'sha256:0'],
      ['content-type', type],
      ['content-type', type],
    ]);
    response.end('{}');
  });
  for (const selector of ['1.0', digestOf(Buffer.from('{}'))]) {
    const { descriptor } = await repository.manifest(selector, t.signal);
    assert.deepEqual([descriptor.mediaType, descriptor.digest], [type, digestOf(Buffer.from('{}'))]);
  }
});

test('labels of an encoding that is not there are passed over, by range and as a whole', async (t) => {
  for (const label of ['gzip', 'x-gzip', 'aws-chunked', '', 'aws-chunked, identity', 'br']) {
    const { repository } = await registryThat(t, (request, response) => {
      response.setHeader('content-encoding', label);
      serve(request, response);
    });
    assert.ok(
      (await collect(repository.blob(BLOB, 100, 200, t.signal))).equals(BYTES.subarray(100, 200)),
      label,
    );
    assert.ok((await collect(repository.blob(BLOB, 0, BLOB.size, t.signal))).equals(BYTES), label);
  }
});

test('an encoding that is there is undone, for blobs, ranges of them and manifests', async (t) => {
  for (const [label, encode] of [
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ] as const) {
    const { repository } = await registryThat(t, (request, response) => {
      const encoded = encode(request.url?.includes('/manifests/') === true ? Buffer.from('{}') : BYTES);
      const head = { 'content-encoding': label, 'content-length': encoded.length };
      if (request.headers.range === undefined) return void response.writeHead(200, head).end(encoded);
      const place = `bytes 100-199/${encoded.length}`;
      response.writeHead(206, { ...head, 'content-range': place, 'content-length': 100 });
      response.end(encoded.subarray(100, 200));
    });
    assert.ok((await collect(repository.blob(BLOB, 0, BLOB.size, t.signal))).equals(BYTES), label);
    assert.ok(
      (await collect(repository.blob(BLOB, 100, 200, t.signal))).equals(BYTES.subarray(100, 200)),
      label,
    );
    assert.equal(Buffer.from((await repository.manifest('1.0', t.signal)).bytes).toString(), '{}', label);
  }
});

test('storage that answers 416 to every range is asked for the whole', async (t) => {
  const { repository } = await registryThat(t, (request, response) => {
    if (request.headers.range === undefined) response.end(BYTES);
    else response.writeHead(416).end();
  });
  for (const [start, end] of [
    [0, BLOB.size],
    [100, 200],
    [299_999, 300_000],
  ] as const) {
    const got = await collect(repository.blob(BLOB, start, end, t.signal));
    assert.ok(got.equals(BYTES.subarray(start, end)));
  }
});

test('a registry that hides what exists is asked for its challenge before it is believed', async (t) => {
  const basic = `Basic ${Buffer.from(`ada:${PASSWORD}`).toString('base64')}`;
  const credential = { kind: 'basic', username: 'ada', password: PASSWORD } as const;
  for (const status of [400, 401, 403, 404]) {
    const server = await startServer(t, (request, response) => {
      if (request.headers.authorization === basic) return void response.end('{}');
      if (request.url === '/v2/') response.setHeader('www-authenticate', 'Basic realm="r"');
      response.writeHead(request.url === '/v2/' ? 401 : status).end();
    });
    const known = openRepository(accessTo(t, server.host, { credential }), 'team/app');
    assert.equal((await known.manifest('1.0', t.signal)).bytes.length, 2, String(status));
    const nobody = openRepository(accessTo(t, server.host), 'team/app');
    const { code } = await failure(nobody.manifest('1.0', t.signal));
    assert.equal(
      code,
      { 400: 'protocol', 401: 'unauthorized', 403: 'unauthorized', 404: 'not-found' }[status],
    );
  }
});

test('a name that leads elsewhere: a free token goes along, a password does not', async (t) => {
  const elsewhere = await startServer(t, (request, response) => {
    if (request.url?.startsWith('/token') === true) return void response.end('{"token":"free"}');
    if (request.headers.authorization === 'Bearer free') return void response.end('{}');
    const realm = `Bearer realm="http://${request.headers.host}/token",service="s"`;
    response.writeHead(401, { 'www-authenticate': realm }).end();
  });
  const server = await startServer(t, (request, response) => {
    response.writeHead(307, { location: `${elsewhere.url}${request.url}` }).end();
  });
  const credential = { kind: 'basic', username: 'ada', password: PASSWORD } as const;
  const repository = openRepository(accessTo(t, server.host, { credential }), 'team/app');
  for (const selector of ['1.0', '2.0']) await repository.manifest(selector, t.signal);
  const shown = elsewhere.requests.map(({ headers }) => headers.authorization);
  assert.ok(
    shown.every((value) => value === undefined || value === 'Bearer free'),
    String(shown),
  );
});

test('storage below the name of the registry is not shown its token', async (t) => {
  const credential = { kind: 'basic', username: 'ada', password: PASSWORD } as const;
  const server = await startServer(t, (request, response) => {
    const { authorization } = request.headers;
    if (request.url?.startsWith('/storage') === true) {
      return void response.writeHead(authorization === undefined ? 200 : 400).end('{}');
    }
    if (authorization !== undefined)
      return void response.writeHead(307, { location: '/storage?sig=1' }).end();
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
  });
  const repository = openRepository(accessTo(t, server.host, { credential }), 'team/app');
  assert.equal((await repository.manifest('1.0', t.signal)).bytes.length, 2);
});

test('what a registry says of itself is shown without control characters and secrets', async (t) => {
  const message = `no\u001b[2Jway http://u:${PASSWORD}@h/ ${'x'.repeat(5000)}`;
  const { repository } = await registryThat(t, (_, response) => {
    response.writeHead(403).end(JSON.stringify({ errors: [{ code: 'DENIED', message }] }));
  });
  const error = await failure(repository.manifest('1.0', t.signal));
  assert.equal(error.code, 'unauthorized');
  assert.doesNotMatch(error.message, /\p{Cc}|correct-horse/u);
  assert.ok(error.message.length < 400);
});

test('token servers: endless, none, no token, too far away', async (t) => {
  const tokenServer = await startServer(t, (request, response) => {
    if (request.url?.startsWith('/endless') === true) {
      const more = (): void => {
        while (!response.destroyed && response.write('['.repeat(65_536)));
      };
      response.on('drain', more);
      return more();
    }
    if (request.url?.startsWith('/control') === true)
      return void response.end('{"token":"a\\r\\nX-Evil: b"}');
    response.end('{"token":17}');
  });
  const cases: [realm: string, code: string][] = [
    [`${tokenServer.url}/endless`, 'limit'],
    [`${tokenServer.url}/control`, 'protocol'],
    [`${tokenServer.url}/number`, 'protocol'],
    ['', 'protocol'],
    ['file:///etc/passwd', 'protocol'],
    ['http://user:word@127.0.0.1/', 'protocol'],
    ['http://tokens.test/', 'unauthorized'],
  ];
  for (const [realm, code] of cases) {
    const challenge = askFor({ 'www-authenticate': `Bearer realm="${realm}",service="s"` });
    const { repository } = await registryThat(t, challenge, { credential: ADA });
    const error = await failure(repository.manifest('1.0', t.signal));
    assert.equal(error.code, code, realm);
    assert.doesNotMatch(`${error.stack}`, new RegExp(PASSWORD));
  }
});

test('a registry that refuses every token is asked no more than three times', async (t) => {
  const tokens = await startServer(t, (_, response) => void response.end('{"token":"abc"}'));
  const { server, repository } = await registryThat(
    t,
    askFor({ 'www-authenticate': `Bearer realm="${tokens.url}/t"` }),
  );
  assert.equal((await failure(repository.manifest('1.0', t.signal))).code, 'unauthorized');
  assert.equal(server.requests.filter(({ url }) => url !== '/v2/').length, 3);
  assert.equal(tokens.requests.length, 2);
});

test('Bearer is found behind another WWW-Authenticate field', async (t) => {
  const tokens = await startServer(t, (_, response) => void response.end('{"access_token":"abc"}'));
  const { repository } = await registryThat(t, (request, response) => {
    if (request.headers.authorization === 'Bearer abc') return serve(request, response);
    response.setHeader('www-authenticate', ['Negotiate', `Bearer realm="${tokens.url}/t"`]);
    response.writeHead(401).end();
  });
  assert.equal((await collect(repository.blob(BLOB, 0, 10, t.signal))).length, 10);
});

function range(
  status: number,
  contentRange: string | undefined,
  body: Buffer,
  headers: Record<string, string> = {},
): Handler {
  return (_, response) => {
    response
      .writeHead(status, {
        ...headers,
        ...(contentRange === undefined ? {} : { 'content-range': contentRange }),
      })
      .end(body);
  };
}

test('a dead proxy says nothing of whether the registry speaks TLS', async (t) => {
  const proxy = 'http://127.0.0.1:9';
  for (const env of [
    { HTTP_PROXY: proxy },
    { HTTPS_PROXY: proxy },
    { HTTP_PROXY: proxy, HTTPS_PROXY: proxy },
  ]) {
    const access = accessTo(t, 'registry.invalid:5000', { env, insecure: true });
    const error = await failure(openRepository(access, 'team/app').manifest('1.0', t.signal));
    assert.equal(error.code, 'unreachable');
    assert.match(error.message, /the proxy 127\.0\.0\.1:9 cannot be reached: connection refused/);
    assert.equal(error.hint, 'check HTTPS_PROXY, HTTP_PROXY and NO_PROXY');
  }
});
