import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestCertificate } from './certificate.ts';
import type { Scope } from './processes.ts';

export interface TestServer {
  /** `ADDRESS:PORT` */
  readonly host: string;
  readonly url: string;
  /** As they came, headers and all. */
  readonly requests: readonly IncomingMessage[];
}

/** A server that answers whatever a test wants, wrong things too; loopback where nothing is said, the kernel's port. */
export async function startServer(
  scope: Scope,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  tls?: TestCertificate,
  address = '127.0.0.1',
): Promise<TestServer> {
  const requests: IncomingMessage[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(request);
    handler(request, response);
  };
  const server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer({ cert: tls.certificatePem, key: tls.keyPem }, listener);
  server.listen(0, address);
  await once(server, 'listening');
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `${address}:${(server.address() as AddressInfo).port}`;
  return { host, url: `${tls === undefined ? 'http' : 'https'}://${host}`, requests };
}
