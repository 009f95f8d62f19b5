import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineRequest, type EngineAnswer } from './dockerd.ts';
import { run, startProcess, type Output, type RunningProcess, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { removeTree } from './temp.ts';

/** A real podman API service with a storage of its own; its socket speaks Docker's API too. */
export interface TestPodman {
  readonly socket: string;
  /** For DOCKER_HOST. */
  readonly dockerHost: string;
  /** Runs the podman command line on the same storage. */
  podman(...args: readonly string[]): Promise<Output>;
  api(method: string, path: string, body?: unknown): Promise<EngineAnswer>;
  /** SIGTERM, as `systemctl restart podman` begins. */
  stop(): Promise<void>;
  /** Starts it again on the same storage. */
  restart(): Promise<void>;
}

const START_MS = 30_000;
const ASK_EVERY_MS = 50;

/** Needs root and podman: `skipWithout('root', 'podman')`. */
export async function startPodman(scope: Scope): Promise<TestPodman> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-podman-'));
  const socket = join(directory, 'podman.sock');
  const dockerHost = `unix://${socket}`;
  const storage = [
    `--root=${join(directory, 'root')}`,
    `--runroot=${join(directory, 'run')}`,
    `--tmpdir=${join(directory, 'tmp')}`,
    '--storage-driver=overlay',
    '--events-backend=file',
  ];
  const start = (): RunningProcess =>
    startProcess(programPath('podman'), [...storage, 'system', 'service', '--time=0', dockerHost]);
  let service = start();
  scope.after(async () => {
    await service.kill('SIGTERM');
    await removeTree(directory);
  });
  await answering(socket, () => service.stderr());
  return {
    socket,
    dockerHost,
    podman: (...args) => run(programPath('podman'), [...storage, ...args]),
    api: (method, path, body) => engineRequest(socket, method, path, body),
    stop: async () => void (await service.kill('SIGTERM')),
    restart: async () => {
      service = start();
      await answering(socket, () => service.stderr());
    },
  };
}

/** podman says nothing once it listens, so it is asked until it answers. */
async function answering(socket: string, log: () => string): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    const answer = await engineRequest(socket, 'GET', '/_ping').catch(() => undefined);
    if (answer?.status === 200) return;
    await sleep(ASK_EVERY_MS);
  }
  throw new Error(`podman does not answer:\n${log()}`);
}
