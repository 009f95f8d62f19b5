import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, startProcess, type Output, type RunningProcess, type Scope } from './processes.ts';
import { engineProgram, goProgramsPath, programPath, skipWithout } from './programs.ts';
import { removeTree } from './temp.ts';

/** A real Docker Engine of its own: own data, own socket, no hand on the machine's network. */
export interface TestDockerd {
  readonly socket: string;
  /** For DOCKER_HOST: `unix:///.../docker.sock`. */
  readonly dockerHost: string;
  log(): string;
  /** Runs the docker command line against it. */
  docker(...args: readonly string[]): Promise<Output>;
  /** One request to the Engine API, `path` from the root (`/images/json`); body and answer are JSON. */
  api(method: string, path: string, body?: unknown): Promise<EngineAnswer>;
  /** SIGKILL, as a crash; containerd dies with it. */
  kill(): Promise<void>;
  /** SIGTERM, as `systemctl restart docker` begins. */
  stop(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
}

export interface EngineAnswer {
  readonly status: number;
  readonly text: string;
}

/**
 * `debian`: the Engine 20.10 of Debian's docker.io. `graphdriver` and `containerd`: today's engine, with its own layer
 * store and with containerd's, which is the default of new installations.
 */
export type DockerdKind = 'debian' | 'graphdriver' | 'containerd';

export const DOCKERD_KINDS: readonly DockerdKind[] = ['debian', 'graphdriver', 'containerd'];

/** Why such an engine cannot be run here; false where it can. */
export function skipWithoutDockerd(kind: DockerdKind, ...needs: readonly string[]): string | false {
  if (kind === 'debian') return skipWithout('root', 'dockerd', 'docker', ...needs);
  return skipWithout('root', 'docker', 'go:dockerd', 'go:containerd', 'go:runc', ...needs);
}

/** On a machine under load the first start takes several seconds. */
const START_MS = 60_000;

const NETWORK_UNTOUCHED = [
  '--bridge=none',
  '--iptables=false',
  '--ip6tables=false',
  '--ip-forward=false',
  '--ip-masq=false',
  '--userland-proxy=false',
];

const CONFIGS: Readonly<Record<DockerdKind, object>> = {
  debian: {},
  graphdriver: { features: { 'containerd-snapshotter': false }, 'storage-driver': 'overlay2' },
  containerd: {},
};

/** Needs what `skipWithoutDockerd` says. Up in about 3 s. @param launcher a command that takes another one behind it */
export async function startDockerd(
  scope: Scope,
  flags: readonly string[] = [],
  kind: DockerdKind = 'debian',
  launcher: readonly string[] = [],
): Promise<TestDockerd> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-dockerd-'));
  const socket = join(directory, 'docker.sock');
  const dockerHost = `unix://${socket}`;
  let daemon: RunningProcess | undefined;
  scope.after(async () => {
    await daemon?.kill('SIGTERM');
    await removeTree(directory);
  });

  const start = async (): Promise<void> => {
    const program = kind === 'debian' ? programPath('dockerd') : engineProgram('dockerd');
    // dockerd looks for containerd and runc on the PATH.
    const env = kind === 'debian' ? process.env : { ...process.env, PATH: goProgramsPath() };
    const args = [
      `--config-file=${join(directory, 'daemon.json')}`,
      `--data-root=${join(directory, 'data')}`,
      `--exec-root=${join(directory, 'exec')}`,
      `--pidfile=${join(directory, 'pid')}`,
      `--host=${dockerHost}`,
      ...NETWORK_UNTOUCHED,
      ...flags,
    ];
    const [command = program, ...rest] = [...launcher, program, ...args];
    daemon = startProcess(command, rest, { env });
    await daemon.waitFor(/API listen on /, START_MS);
  };

  // Not the machine's.
  await writeFile(join(directory, 'daemon.json'), JSON.stringify(CONFIGS[kind]));
  await start();
  return {
    socket,
    dockerHost,
    log: () => daemon?.stderr() ?? '',
    docker: (...args) => run(programPath('docker'), ['--host', dockerHost, ...args]),
    api: (method, path, body) => engineRequest(socket, method, path, body),
    kill: async () => {
      await daemon?.kill('SIGKILL');
    },
    stop: async () => {
      await daemon?.kill('SIGTERM');
    },
    restart: async () => {
      await daemon?.kill('SIGKILL');
      // a killed containerd may stay a zombie, whose pid dockerd takes for a living one
      for (const file of ['pid', 'exec/containerd/containerd.pid']) {
        await rm(join(directory, file), { force: true });
      }
      await start();
    },
  };
}

/** One request over an engine's unix socket; JSON both ways. */
export function engineRequest(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<EngineAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const call = request({ socketPath, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      );
    });
    call.on('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
