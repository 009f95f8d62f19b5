import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createServer as createHttp, request as forward } from 'node:http';
import { createServer as createTls } from 'node:https';
import { connect, createServer as createTcp, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { Http, readBody, type HttpOptions } from '../../src/http/http.ts';
import { makeCertificate, type TestCertificate } from '../helpers/certificate.ts';
import { startServer } from '../helpers/http-server.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const skip = skipWithout('openssl');

function open(t: Scope, options: Partial<HttpOptions> = {}): Http {
  const http = new Http({ env: {}, certsDirectory: '/nonexistent', ...options });
  t.after(() => http.close());
  return http;
}

async function text(http: Http, url: string, signal: AbortSignal, maxBytes = 1000): Promise<string> {
  const answer = await http.request(new URL(url), { signal });
  return (await readBody(answer, { maxBytes, url: new URL(url), what: 'it', signal })).toString();
}

async function failure(attempt: Promise<unknown>): Promise<QuayctlError> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof QuayctlError, String(error));
  return error;
}

async function listen(t: Scope, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A `certs.d` with a folder for one host. */
async function certsFor(
  t: Scope,
  host: string,
  authority: TestCertificate,
  client?: TestCertificate,
): Promise<string> {
  const directory = await tempDirectory(t, 'certs');
  await mkdir(join(directory, host));
  await copyFile(authority.certificate, join(directory, host, 'ca.crt'));
  if (client !== undefined) {
    await copyFile(client.certificate, join(directory, host, 'client.cert'));
    await copyFile(client.key, join(directory, host, 'client.key'));
  }
  return directory;
}

test('a certificate of an unknown authority is refused; certs.d makes it known', { skip }, async (t) => {
  const certificate = await makeCertificate(t);
  const server = await startServer(t, (_, response) => void response.end('hello'), certificate);
  const error = await failure(text(open(t), server.url, t.signal));
  assert.equal(error.code, 'unreachable');
  assert.match(error.message, /certificate is of an authority that is not known here/);
  assert.match(error.hint ?? '', new RegExp(`/etc/docker/certs\\.d/${server.host}/ca\\.crt`));
  const certsDirectory = await certsFor(t, server.host, certificate);
  assert.equal(await text(open(t, { certsDirectory }), server.url, t.signal), 'hello');
  const elsewhere = await certsFor(t, '127.0.0.1:1', certificate);
  assert.equal(
    (await failure(text(open(t, { certsDirectory: elsewhere }), server.url, t.signal))).code,
    'unreachable',
  );
});

test('SSL_CERT_FILE names a further authority; one that is no PEM is named', { skip }, async (t) => {
  const certificate = await makeCertificate(t);
  const server = await startServer(t, (_, response) => void response.end('hello'), certificate);
  const env = { SSL_CERT_FILE: certificate.certificate };
  assert.equal(await text(open(t, { env }), server.url, t.signal), 'hello');
  const missing = { SSL_CERT_FILE: '/nonexistent/ca.pem' };
  const error = await failure(text(open(t, { env: missing }), server.url, t.signal));
  assert.deepEqual([error.code, error.message], ['credentials', 'cannot read /nonexistent/ca.pem']);
});

test("the system's authorities count where Node's own are not enough", { skip }, async (t) => {
  const certificate = await makeCertificate(t);
  const server = await startServer(t, (_, response) => void response.end('hello'), certificate);
  // OpenSSL takes the place of the system's store from this variable; Http is not told of it.
  const env = { ...process.env, SSL_CERT_FILE: certificate.certificate };
  const code = `import { Http, readBody } from ${JSON.stringify(join(import.meta.dirname, '../../src/http/http.ts'))};
    const url = new URL(${JSON.stringify(server.url)}), signal = AbortSignal.timeout(60_000);
    const lines = [];
    const http = new Http({ env: {}, certsDirectory: '/nonexistent', onExchange: (line) => lines.push(line) });
    const ask = async () => (await readBody(await http.request(url, { signal }), { maxBytes: 9, url, what: '', signal })).toString();
    console.log(await ask(), await ask(), lines.length);
    await http.close();`;
  const said = await mustRun(process.execPath, ['--input-type=module', '-e', code], { env });
  // The first question is refused and asked again; after that it is known.
  assert.equal(said, 'hello hello 3\n');
});

test('a proxy that does not answer is named in place of the host behind it', async (t) => {
  const closed = createTcp();
  const port = await listen(t, closed);
  closed.close();
  const proxy = `http://user:secret@127.0.0.1:${port}`;
  for (const scheme of ['http', 'https']) {
    const http = open(t, { env: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } });
    const error = await failure(text(http, `${scheme}://registry.test:5000/`, t.signal));
    assert.equal(
      error.message,
      `registry.test:5000 cannot be reached: the proxy 127.0.0.1:${port} cannot be reached: connection refused`,
    );
    assert.equal(error.hint, 'check HTTPS_PROXY, HTTP_PROXY and NO_PROXY');
  }
});

test('a certificate for another name is refused, whoever signed it', { skip }, async (t) => {
  const certificate = await makeCertificate(t, ['DNS:other.test']);
  const server = await startServer(t, (_, response) => void response.end('hello'), certificate);
  const certsDirectory = await certsFor(t, server.host, certificate);
  const error = await failure(text(open(t, { certsDirectory }), server.url, t.signal));
  assert.match(error.message, /certificate is for another name/);
});

test('a client certificate is shown to its host', { skip }, async (t) => {
  const [own, clients] = await Promise.all([makeCertificate(t), makeCertificate(t, ['DNS:client.test'])]);
  const server = createTls(
    { cert: own.certificatePem, key: own.keyPem, ca: clients.certificatePem, requestCert: true },
    (_, response) => void response.end('welcome'),
  );
  const host = `127.0.0.1:${await listen(t, server)}`;
  const without = await certsFor(t, host, own);
  const error = await failure(text(open(t, { certsDirectory: without }), `https://${host}/`, t.signal));
  assert.equal(error.code, 'unreachable');
  const certsDirectory = await certsFor(t, host, own, clients);
  assert.equal(await text(open(t, { certsDirectory }), `https://${host}/`, t.signal), 'welcome');
  await writeFile(join(certsDirectory, host, 'other.cert'), 'x');
  await copyFile(clients.certificate, join(certsDirectory, host, 'a.cert'));
  const keyless = await failure(text(open(t, { certsDirectory }), `https://${host}/`, t.signal));
  assert.equal(keyless.code, 'credentials');
  assert.match(keyless.message, /a\.key$/);
});

test('network failures in words', async (t) => {
  const silent = createTcp((socket) => socket.on('error', () => undefined).destroy());
  const gone = `127.0.0.1:${await listen(t, silent)}`;
  const plain = await startServer(t, (_, response) => void response.end());
  const garbage = createTcp((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH\r\n'));
  const other = `127.0.0.1:${await listen(t, garbage)}`;
  const rows: [url: string, message: RegExp, hint: RegExp | undefined][] = [
    ['http://127.0.0.1:1/', /^127\.0\.0\.1:1 cannot be reached: connection refused$/, undefined],
    ['http://nowhere.invalid/', /^nowhere\.invalid cannot be reached: (no such host|its name)/, undefined],
    [`http://${gone}/`, /the connection broke|connection reset/, undefined],
    [`https://${plain.host}/`, /it answers in plain HTTP, not in HTTPS/, /--insecure/],
    [`http://${other}/`, /what it answers is not HTTP/, /without --insecure/],
  ];
  const http = open(t);
  for (const [url, message, hint] of rows) {
    const error = await failure(text(http, url, t.signal));
    assert.equal(error.code, 'unreachable', url);
    assert.match(error.message, message);
    if (hint !== undefined) assert.match(error.hint ?? '', hint);
  }
});

test('a body is bounded, a silent server is left, a signal gives its own reason', async (t) => {
  const server = await startServer(t, (request, response) => {
    if (request.url === '/long') response.end('x'.repeat(1001));
    if (request.url === '/part') response.write('x');
  });
  const http = open(t);
  assert.equal((await failure(text(http, `${server.url}/long`, t.signal))).code, 'limit');
  const silent = http.request(new URL(`${server.url}/silent`), { signal: t.signal, headersTimeoutMs: 100 });
  assert.match((await failure(silent)).message, /accepted, but did not answer/);
  for (const path of ['silent', 'part']) {
    const abort = new AbortController();
    const reason = new Error('enough');
    const waiting = text(http, `${server.url}/${path}`, abort.signal);
    setTimeout(() => abort.abort(reason), 50);
    await assert.rejects(waiting, (error) => error === reason, path);
  }
});

test(
  'HTTPS goes through a tunnel, HTTP is forwarded, and the proxy’s password stays out of errors',
  { skip },
  async (t) => {
    const certificate = await makeCertificate(t, ['DNS:registry.test']);
    const secure = await startServer(t, (_, response) => void response.end('tunnelled'), certificate);
    const plain = await startServer(t, (_, response) => void response.end('forwarded'));
    const seen: string[] = [];
    const expected = `Basic ${Buffer.from('ada:hunter2').toString('base64')}`;
    // Leads every name to our servers, so that names that do not exist can be asked for.
    const proxy = createHttp((incoming, outgoing) => {
      seen.push(`${incoming.method} ${incoming.url}`);
      if (incoming.headers['proxy-authorization'] !== expected) return void outgoing.writeHead(407).end();
      forward(plain.url, (answer) => answer.pipe(outgoing)).end();
    });
    proxy.on('connect', (incoming, socket) => {
      seen.push(`CONNECT ${incoming.url}`);
      if (incoming.headers['proxy-authorization'] !== expected) {
        return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      }
      const target = connect(Number(secure.host.split(':')[1]), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        target.pipe(socket).pipe(target);
      });
      target.on('error', () => socket.destroy());
      socket.on('error', () => target.destroy());
      t.after(() => void target.destroy());
    });
    const address = `127.0.0.1:${await listen(t, proxy)}`;
    const url = `http://ada:hunter2@${address}`;
    const certsDirectory = await certsFor(t, 'registry.test', certificate);
    const http = open(t, { env: { HTTPS_PROXY: url, http_proxy: url }, certsDirectory });
    assert.equal(await text(http, 'https://registry.test/v2/', t.signal), 'tunnelled');
    assert.equal(await text(http, 'http://registry.test/v2/', t.signal), 'forwarded');
    assert.deepEqual(seen, ['CONNECT registry.test:443', 'GET http://registry.test/v2/']);

    const wrong = `http://ada:hunter3@${address}`;
    const refused = open(t, { env: { HTTPS_PROXY: wrong, HTTP_PROXY: wrong } });
    for (const target of ['https://registry.test/', 'http://registry.test/']) {
      const error = await failure(text(refused, target, t.signal));
      assert.equal(error.code, 'unreachable');
      assert.match(error.message, /the proxy answers 407/);
      assert.match(error.hint ?? '', /HTTPS_PROXY/);
      assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /hunter/);
    }
    proxy.closeAllConnections();
  },
);

test('a signal ends a request at once, also while the other side only accepts', async (t) => {
  const server = createTcp((socket) => t.after(() => void socket.destroy()));
  const port = await listen(t, server);
  for (const scheme of ['https', 'http']) {
    const http = open(t);
    const stop = new AbortController();
    const request = http.request(new URL(`${scheme}://127.0.0.1:${port}/`), { signal: stop.signal });
    await once(server, 'connection');
    const reason = new Error('stopped');
    const stoppedAt = performance.now();
    stop.abort(reason);
    await assert.rejects(request, reason);
    await http.close();
    assert.ok(performance.now() - stoppedAt < 1000);
  }
});
