import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';

/** PEM, as the three files of a certificate folder hold it. */
interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Where a service of the Docker Engine API answers. */
export type ApiEndpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: ClientTls };

/** IANA: docker and docker-s. */
const PLAIN_PORT = 2375;
const TLS_PORT = 2376;

/** For messages: no user or password that a URL may carry. */
export function formatEndpoint(endpoint: ApiEndpoint): string {
  if (endpoint.kind === 'socket') return endpoint.path;
  return `${endpoint.tls === undefined ? 'tcp' : 'https'}://${endpoint.host}:${endpoint.port}`;
}

/**
 * Parses `unix:///PATH`, `tcp://HOST:PORT`, `http(s)://HOST:PORT` or `HOST:PORT`, and reads the certificates.
 * @param source the variable or context that holds `host`, for error messages
 * @param certDir where ca.pem, cert.pem and key.pem lie; undefined for a connection without TLS
 * @param defaultSocket what `unix://` without a path means
 * @throws QuayctlError `engine`
 */
export async function parseEndpoint(
  host: string,
  source: string,
  certDir: string | undefined,
  defaultSocket: string,
): Promise<ApiEndpoint> {
  const [scheme, rest] = host.includes('://') ? cut(host, '://') : ['tcp', host];
  switch (scheme) {
    case 'unix':
    case 'npipe':
      return { kind: 'socket', path: rest === '' ? defaultSocket : rest };
    case 'tcp':
    case 'http':
    case 'https':
      return tcpEndpoint(rest, source, scheme === 'https', certDir);
    case 'ssh':
      // ssh2, which dockerode brings, takes any host key; `docker` itself runs ssh, which checks them.
      throw new QuayctlError('engine', `${source}: ssh is not supported`, {
        hint:
          'forward its socket: ssh -nNT -L "$XDG_RUNTIME_DIR/engine.sock:/var/run/docker.sock" HOST, then set ' +
          `${source === 'CONTAINER_HOST' ? source : 'DOCKER_HOST'}="unix://$XDG_RUNTIME_DIR/engine.sock"`,
      });
    default:
      throw new QuayctlError(
        'engine',
        `${source}: cannot connect by ${JSON.stringify(scheme.slice(0, 20))}`,
        {
          hint: 'write unix:///PATH or tcp://HOST:PORT',
        },
      );
  }
}

async function tcpEndpoint(
  rest: string,
  source: string,
  https: boolean,
  certDir: string | undefined,
): Promise<ApiEndpoint> {
  const url = URL.parse(`http://${rest}`);
  if (url === null || url.hostname === '') {
    throw new QuayctlError('engine', `${source}: not an address`, { hint: 'write tcp://HOST:PORT' });
  }
  const tls = certDir !== undefined ? await readTls(certDir, source) : https ? {} : undefined;
  // URL drops the port that is its scheme's default.
  const port =
    url.port !== '' ? Number(url.port) : /:80(?:\/|$)/.test(rest) ? 80 : tls ? TLS_PORT : PLAIN_PORT;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { kind: 'tcp', host, port, ...(tls === undefined ? {} : { tls }) };
}

/** The client certificate of a folder; what is not there is left out. @throws QuayctlError `engine` */
export async function readTls(dir: string, source: string): Promise<ClientTls> {
  const [ca, cert, key] = await Promise.all(
    ['ca.pem', 'cert.pem', 'key.pem'].map(async (name) => {
      try {
        return await readFile(join(dir, name), 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw new QuayctlError('engine', `${source}: cannot read ${join(dir, name)}`, { cause: error });
      }
    }),
  );
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + separator.length)];
}
