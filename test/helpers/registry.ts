import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun, startProcess, type RunningProcess, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { removeTree } from './temp.ts';

export type RegistryAuth =
  | { readonly kind: 'htpasswd'; readonly username: string; readonly password: string }
  | {
      readonly kind: 'token';
      readonly realm: string;
      readonly service: string;
      readonly issuer: string;
      /** PEM file of the certificates whose keys sign tokens. */
      readonly rootCertBundle: string;
    };

export interface RegistryOptions {
  readonly auth?: RegistryAuth;
  /** PEM files; the registry then speaks HTTPS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** 0, the default: the kernel's choice. */
  readonly port?: number;
}

/** Debian's docker-registry (distribution 2.8) on loopback, storing under a directory of its own. */
export interface TestRegistry {
  /** `127.0.0.1:PORT`, as in an image reference. */
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Where blobs lie: `docker/registry/v2/blobs/sha256/xx/HEX/data`. */
  readonly storage: string;
  /** Everything that it logged since it was last started. */
  log(): string;
  /** `METHOD /path STATUS` of every request since it was last started. */
  requests(): string[];
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Starts it again on the same port and storage. */
  restart(): Promise<void>;
}

/** The file that holds a blob's bytes in a registry's storage. */
export function registryBlobPath(registry: TestRegistry, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(registry.storage, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
}

export async function startRegistry(scope: Scope, options: RegistryOptions = {}): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-registry-'));
  const storage = join(directory, 'storage');
  let server: RunningProcess | undefined;
  scope.after(async () => {
    await server?.kill('SIGKILL');
    await removeTree(directory);
  });

  const start = async (port: number): Promise<number> => {
    const file = join(directory, 'config.yml');
    await writeFile(file, await configuration(directory, storage, port, options));
    server = startProcess(programPath('docker-registry'), ['serve', file]);
    const [, listening] = await server.waitFor(/listening on 127\.0\.0\.1:(\d+)/);
    return Number(listening);
  };

  const port = await start(options.port ?? 0);
  const host = `127.0.0.1:${port}`;
  return {
    host,
    port,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    storage,
    log: () => server?.stderr() ?? '',
    requests: () => accessLog((server?.stdout() ?? '') + (server?.stderr() ?? '')),
    kill: async () => {
      await server?.kill('SIGKILL');
    },
    restart: async () => {
      await server?.kill('SIGKILL');
      await start(port);
    },
  };
}

async function configuration(
  directory: string,
  storage: string,
  port: number,
  options: RegistryOptions,
): Promise<string> {
  const { tls } = options;
  // JSON is YAML
  return JSON.stringify({
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: 'test',
      ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
    },
    ...(options.auth === undefined ? {} : { auth: await authentication(directory, options.auth) }),
  });
}

async function authentication(directory: string, auth: RegistryAuth): Promise<object> {
  if (auth.kind === 'token') {
    const { realm, service, issuer, rootCertBundle } = auth;
    return { token: { realm, service, issuer, rootcertbundle: rootCertBundle } };
  }
  const path = join(directory, 'htpasswd');
  const line = await mustRun(programPath('htpasswd'), ['-niB', '-C', '4', auth.username], {
    input: auth.password,
  });
  await writeFile(path, line.trim() + '\n', { mode: 0o600 });
  return { htpasswd: { realm: 'test', path } };
}

function accessLog(text: string): string[] {
  const lines = text.matchAll(/"(GET|HEAD|PUT|POST|PATCH|DELETE) (\S+) HTTP\/[\d.]+" (\d{3})/g);
  return [...lines].map(([, method, path, status]) => `${method} ${path} ${status}`);
}
