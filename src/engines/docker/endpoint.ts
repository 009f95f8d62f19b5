import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** PEM, as the three files of a certificate folder hold it. */
interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Where the Docker Engine API answers. */
export type DockerEndpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: ClientTls };

const DEFAULT_SOCKET = '/var/run/docker.sock';
/** IANA: docker and docker-s. */
const PLAIN_PORT = 2375;
const TLS_PORT = 2376;

/**
 * The daemon that the `docker` command would use: DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), else
 * the context of DOCKER_CONTEXT or of `docker context use`, else the default socket.
 * @throws QuayctlError `engine`
 */
export async function dockerEndpoint(env: Environment): Promise<DockerEndpoint> {
  const configDir = nonEmpty(env['DOCKER_CONFIG']) ?? join(nonEmpty(env['HOME']) ?? homedir(), '.docker');
  const host = nonEmpty(env['DOCKER_HOST']);
  if (host !== undefined) {
    const secure = nonEmpty(env['DOCKER_TLS_VERIFY']) !== undefined;
    return endpointOf(
      host,
      'DOCKER_HOST',
      secure ? (nonEmpty(env['DOCKER_CERT_PATH']) ?? configDir) : undefined,
    );
  }
  const context = nonEmpty(env['DOCKER_CONTEXT']) ?? (await currentContext(configDir));
  if (context === undefined || context === 'default') return { kind: 'socket', path: DEFAULT_SOCKET };
  return contextEndpoint(context, configDir);
}

/** For messages: no user or password that a URL may carry. */
export function formatEndpoint(endpoint: DockerEndpoint): string {
  if (endpoint.kind === 'socket') return endpoint.path;
  return `${endpoint.tls === undefined ? 'tcp' : 'https'}://${endpoint.host}:${endpoint.port}`;
}

async function endpointOf(
  host: string,
  source: string,
  certDir: string | undefined,
): Promise<DockerEndpoint> {
  const [scheme, rest] = host.includes('://') ? cut(host, '://') : ['tcp', host];
  switch (scheme) {
    case 'unix':
    case 'npipe':
      return { kind: 'socket', path: rest === '' ? DEFAULT_SOCKET : rest };
    case 'tcp':
    case 'http':
    case 'https':
      return tcpEndpoint(rest, source, scheme === 'https', certDir);
    case 'ssh':
      // ssh2, which dockerode brings, takes any host key; `docker` itself runs ssh, which checks them.
      throw new QuayctlError('engine', `${source}: ssh is not supported`, {
        hint: 'forward its socket: ssh -nNT -L "$XDG_RUNTIME_DIR/docker.sock:/var/run/docker.sock" HOST, then DOCKER_HOST="unix://$XDG_RUNTIME_DIR/docker.sock"',
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
): Promise<DockerEndpoint> {
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

async function readTls(dir: string, source: string): Promise<ClientTls> {
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

async function currentContext(configDir: string): Promise<string | undefined> {
  const config = await readJson(join(configDir, 'config.json'));
  const name = config?.['currentContext'];
  return typeof name === 'string' ? nonEmpty(name) : undefined;
}

/** docker/cli `context/store`: a folder named by the SHA-256 of the context's name. */
async function contextEndpoint(name: string, configDir: string): Promise<DockerEndpoint> {
  const id = createHash('sha256').update(name).digest('hex');
  const meta = await readJson(join(configDir, 'contexts', 'meta', id, 'meta.json'));
  const endpoints = meta?.['Endpoints'] as Record<string, { Host?: unknown } | undefined> | undefined;
  const host = endpoints?.['docker']?.Host;
  if (typeof host !== 'string' || host === '') {
    throw new QuayctlError('engine', `Docker context ${JSON.stringify(name.slice(0, 100))} has no endpoint`, {
      hint: 'docker context ls shows the contexts; DOCKER_HOST overrides them',
    });
  }
  const certDir = join(configDir, 'contexts', 'tls', id, 'docker');
  const tls = await readTls(certDir, `Docker context ${name}`);
  return endpointOf(host, `Docker context ${name}`, Object.keys(tls).length === 0 ? undefined : certDir);
}

/** A file that is missing or no JSON object says nothing; `docker` itself only warns. */
async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + separator.length)];
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
