import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, startProcess, type Output, type RunningProcess, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
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
  /** Starts it again on the same data. */
  restart(): Promise<void>;
}

export interface EngineAnswer {
  readonly status: number;
  readonly text: string;
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

/** Needs root and dockerd: `skipWithout('root', 'dockerd')`. Up in about 3 s. */
export async function startDockerd(scope: Scope, flags: readonly string[] = []): Promise<TestDockerd> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-dockerd-'));
  const socket = join(directory, 'docker.sock');
  const dockerHost = `unix://${socket}`;
  let daemon: RunningProcess | undefined;
  scope.after(async () => {
    await daemon?.kill('SIGTERM');
    await removeTree(directory);
  });

  const start = async (): Promise<void> => {
    daemon = startProcess(programPath('dockerd'), [
      `--config-file=${join(directory, 'daemon.json')}`,
      `--data-root=${join(directory, 'data')}`,
      `--exec-root=${join(directory, 'exec')}`,
      `--pidfile=${join(directory, 'pid')}`,
      `--host=${dockerHost}`,
      ...NETWORK_UNTOUCHED,
      ...flags,
    ]);
    await daemon.waitFor(/API listen on /, START_MS);
  };

  await writeFile(join(directory, 'daemon.json'), '{}'); // not the machine's
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
