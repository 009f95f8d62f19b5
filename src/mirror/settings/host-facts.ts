import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { promisify } from 'node:util';
import type { SettingsDisk } from './settings-disk.ts';

const PATIENCE_MS = 5_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What is known of the engines of a host besides their files. */
export interface HostFacts {
  /** All settings in force, as TOML; undefined where containerd is not here, or belongs to another root. */
  containerdConfig(): Promise<string | undefined>;
  docker(): Promise<DockerFacts | undefined>;
  /** Of the dockerd that runs. */
  readonly dockerdHasMirrorFlag: boolean;
  /** The process that a SIGHUP tells to read daemon.json again. */
  readonly dockerdPid: number | undefined;
}

interface DockerFacts {
  readonly major: number;
  readonly hasContainerdStore: boolean;
}

export async function hostFacts(disk: SettingsDisk): Promise<HostFacts> {
  const isHere = disk.root === '/';
  const dockerd = isHere ? await runningDockerd(disk) : undefined;
  return {
    containerdConfig: async () => (isHere ? containerdDump() : undefined),
    docker: async () =>
      (await dockerInfo(disk, '/run/docker.sock')) ?? dockerInfo(disk, '/var/run/docker.sock'),
    dockerdHasMirrorFlag: dockerd?.args.some((arg) => /^--?registry-mirror(?:=|$)/.test(arg)) ?? false,
    dockerdPid: dockerd?.pid,
  };
}

/** Knows the defaults of this version of containerd, and the files that config.toml includes. */
async function containerdDump(): Promise<string | undefined> {
  try {
    const options = { timeout: PATIENCE_MS, maxBuffer: MAX_ANSWER_BYTES };
    return (await promisify(execFile)('containerd', ['config', 'dump'], options)).stdout;
  } catch {
    return undefined;
  }
}

async function runningDockerd(disk: SettingsDisk): Promise<{ pid: number; args: string[] } | undefined> {
  const text = await readFile(disk.at('/var/run/docker.pid'), 'latin1').catch(() => '');
  const pid = Number(text.trim());
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const name = await readFile(`/proc/${pid}/comm`, 'latin1').catch(() => '');
  if (name.trim() !== 'dockerd') return undefined;
  const args = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return { pid, args: args.split('\0') };
}

/** `GET /info` of the Docker Engine API. */
async function dockerInfo(disk: SettingsDisk, socket: string): Promise<DockerFacts | undefined> {
  const text = await new Promise<string>((resolve) => {
    const asking = request({ socketPath: disk.at(socket), path: '/info', timeout: PATIENCE_MS }, (answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      answer.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > MAX_ANSWER_BYTES) asking.destroy();
        else chunks.push(chunk);
      });
      answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      answer.on('error', () => resolve(''));
    });
    asking.on('timeout', () => asking.destroy());
    asking.on('error', () => resolve(''));
    asking.on('close', () => resolve(''));
    asking.end();
  });
  return dockerFacts(text);
}

function dockerFacts(text: string): DockerFacts | undefined {
  try {
    const info = JSON.parse(text) as Record<string, unknown>;
    const { ServerVersion: version, DriverStatus: status } = info;
    if (typeof version !== 'string') return undefined;
    return {
      major: Number.parseInt(version.replace(/^v/, ''), 10) || 0,
      hasContainerdStore: JSON.stringify(status ?? []).includes('io.containerd.snapshotter'),
    };
  } catch {
    return undefined;
  }
}
