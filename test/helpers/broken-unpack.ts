import { createServer, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { Scope } from './processes.ts';

/**
 * STAND-IN for Docker Engine 29.7.2 with containerd's store on a disk that is full: it answers as the real one did when
 * its answers were recorded. For machines that cannot build the real one, and to show what its disk cannot show at will.
 * @returns the names that images have
 */
export async function startBrokenUnpack(scope: Scope, socket: string): Promise<() => string[]> {
  const names = new Set<string>();
  const json = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    void (async () => {
      await buffer(request);
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://docker');
      const name = decodeURIComponent(/^\/images\/(.+?)(?:\/json|\/tag)?$/.exec(pathname)?.[1] ?? '');
      if (pathname === '/_ping') response.end('OK');
      else if (pathname === '/version') json(response, 200, VERSION);
      else if (pathname === '/info') json(response, 200, INFO);
      else if (pathname === '/images/json') json(response, 200, []);
      else if (pathname === '/images/load') {
        const loaded = `sha256:${'1'.repeat(64)}`;
        names.add(loaded);
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write(`${JSON.stringify({ stream: `Loaded image ID: ${loaded}\n` })}\r\n`);
        response.end(`${JSON.stringify({ stream: `Error unpacking image ${loaded}: ${UNPACK}\n` })}\r\n`);
      } else if (pathname.endsWith('/tag')) {
        names.add(`${searchParams.get('repo') ?? ''}:${searchParams.get('tag') ?? ''}`);
        response.writeHead(201).end();
      } else if (request.method === 'DELETE') json(response, names.delete(name) ? 200 : 404, []);
      else json(response, 404, { message: `No such image: ${name}` });
    })();
  });
  scope.after(() => void server.close());
  await new Promise<void>((resolve) => void server.listen(socket, resolve));
  return () => [...names].filter((each) => !each.startsWith('sha256:'));
}

const VERSION = {
  Version: '29.7.2',
  ApiVersion: '1.55',
  MinAPIVersion: '1.40',
  Os: 'linux',
  Arch: 'amd64',
  Components: [{ Name: 'Engine', Version: '29.7.2' }],
};
const INFO = {
  Driver: 'overlayfs',
  DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
  Architecture: 'x86_64',
  OSType: 'linux',
  Images: 1,
};
const UNPACK =
  'apply layer error for "moby-dangling@sha256:1": failed to extract layer sha256:c1429b4a29c3: write ' +
  '/var/lib/docker/x: no space left on device';
