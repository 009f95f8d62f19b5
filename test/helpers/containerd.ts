import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OwnEtc } from './own-etc.ts';
import { run, startProcess, type Output, type Scope } from './processes.ts';
import { engineProgram, goProgramsPath, programPath, skipWithout } from './programs.ts';
import { removeTree } from './temp.ts';

/** A real containerd of its own, asked through its CRI plug-in, as kubelet asks it. */
export interface TestContainerd {
  /** Where hosts.toml files are looked for. */
  readonly certsDirectory: string;
  /** Where it keeps each blob under its digest in hex. */
  readonly contentStore: string;
  log(): string;
  /** Writes `certs.d/HOST/hosts.toml`. */
  useMirror(registry: string, text: string): Promise<void>;
  /** `crictl ARGS` against it. */
  crictl(...args: readonly string[]): Promise<Output>;
}

/** `debian`: 1.6, without any time-out of its own. `current`: what scripts/setup --engines builds. */
export type ContainerdKind = 'debian' | 'current';

export const CONTAINERD_KINDS: readonly ContainerdKind[] = ['debian', 'current'];

export function skipWithoutContainerd(kind: ContainerdKind, ...needs: readonly string[]): string | false {
  const own = kind === 'debian' ? 'containerd' : 'go:containerd';
  return skipWithout('root', own, 'go:crictl', ...needs);
}

/** On a machine under load the first start takes several seconds. */
const START_MS = 60_000;

/** Puts a command into a network namespace. */
type Inside = (program: string, args: readonly string[]) => [string, string[]];

/**
 * Needs what `skipWithoutContainerd` says.
 * @param etc where it looks for its settings, as one that was installed does; a folder of its own by default
 * @param inside puts it into a network of its own
 */
export async function startContainerd(
  scope: Scope,
  kind: ContainerdKind,
  etc?: OwnEtc,
  inside: Inside = (command, args) => [command, [...args]],
): Promise<TestContainerd> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-containerd-'));
  const socket = join(directory, 'containerd.sock');
  const certsDirectory = etc === undefined ? join(directory, 'certs.d') : '/etc/containerd/certs.d';
  if (etc === undefined) await mkdir(certsDirectory);
  const config = etc === undefined ? join(directory, 'config.toml') : '/etc/containerd/config.toml';
  const settings = (kind === 'debian' ? configuration16 : configuration2)(directory, certsDirectory);
  if (etc === undefined) await writeFile(config, settings);
  else await etc.write(config, settings);
  const program = kind === 'debian' ? programPath('containerd') : engineProgram('containerd');
  const env = { ...process.env, PATH: kind === 'debian' ? (process.env['PATH'] ?? '') : goProgramsPath() };
  const [command, ...rest] = [...(etc?.launcher ?? []), program, '--config', config];
  const daemon = startProcess(...inside(command, rest), { env });
  scope.after(async () => {
    await daemon.kill('SIGTERM');
    await removeTree(directory);
  });
  await daemon.waitFor(/containerd successfully booted/, START_MS);
  return {
    certsDirectory,
    contentStore: join(directory, 'root/io.containerd.content.v1.content/blobs/sha256'),
    log: () => daemon.stderr(),
    useMirror: async (registry, text) => {
      await mkdir(join(certsDirectory, registry), { recursive: true });
      await writeFile(join(certsDirectory, registry, 'hosts.toml'), text);
    },
    crictl: (...args) =>
      run(engineProgram('crictl'), [
        ...['--timeout', '300s'],
        ...['--runtime-endpoint', `unix://${socket}`],
        ...['--image-endpoint', `unix://${socket}`],
        ...args,
      ]),
  };
}

function configuration16(directory: string, certsDirectory: string): string {
  return `
version = 2
root = "${directory}/root"
state = "${directory}/state"
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${directory}/cni"
    conf_dir = "${directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${certsDirectory}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory}/opt"
`;
}

function configuration2(directory: string, certsDirectory: string): string {
  return `
version = 3
root = "${directory}/root"
state = "${directory}/state"
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "${certsDirectory}"
[plugins."io.containerd.transfer.v1.local"]
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux"
    snapshotter = "native"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["${directory}/cni"]
    conf_dir = "${directory}/cni"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory}/opt"
`;
}
