import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Scope } from './processes.ts';

export interface NameProxy {
  /** For HTTP_PROXY and HTTPS_PROXY. */
  readonly url: string;
  /** `CONNECT host:port` and `GET http://...`, in order. */
  readonly requests: readonly string[];
}

/**
 * A proxy that leads `HOST:PORT` to servers on loopback, so that tests can have hosts of any name that are not
 * loopback by their name. Other names are answered 502.
 * @param places `registry.test:443` to `127.0.0.1:PORT`
 */
export async function startNameProxy(
  scope: Scope,
  places: Readonly<Record<string, string>>,
): Promise<NameProxy> {
  const requests: string[] = [];
  const server = createServer((incoming, outgoing) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    const url = new URL(incoming.url ?? '', 'http://none.invalid');
    const place = places[`${url.hostname}:${url.port || 80}`];
    if (place === undefined) return void outgoing.writeHead(502).end();
    const target = `http://${place}${url.pathname}${url.search}`;
    const call = request(target, { method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(outgoing);
    });
    call.on('error', () => outgoing.destroy());
    incoming.pipe(call);
  });
  server.on('connect', (incoming, socket) => {
    requests.push(`CONNECT ${incoming.url}`);
    const place = places[incoming.url ?? ''];
    if (place === undefined) return void socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    const [host, port] = place.split(':');
    const target = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    scope.after(() => void target.destroy());
    target.on('error', () => socket.destroy());
    socket.on('error', () => target.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
