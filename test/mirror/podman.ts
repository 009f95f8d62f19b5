import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OwnEtc } from '../helpers/own-etc.ts';
import { mustRun, run, type Output, type Scope } from '../helpers/processes.ts';
import { programPath } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import type { MirrorStage } from './kit.ts';

export interface Podman {
  pull(name: string, ...flags: readonly string[]): Promise<Output>;
  login(host: string, user: string, password: string): Promise<void>;
}

/** The podman command with a storage of its own, and settings by which the stage's registry has our mirror. */
export async function podmanWithMirror(scope: Scope, { mirror, pipe }: MirrorStage): Promise<Podman> {
  const directory = await tempDirectory(scope, 'podman');
  const config = join(directory, 'registries.conf');
  await writeFile(
    config,
    `[[registry]]
prefix = "${pipe.host}"
location = "${pipe.host}"
insecure = true
[[registry.mirror]]
location = "${mirror.host}/${inPath(pipe.host)}"
insecure = true
`,
  );
  return podmanIn(directory, [], { CONTAINERS_REGISTRIES_CONF: config });
}

/** The podman command with a storage of its own, and the settings of a machine. */
export async function podmanOf(scope: Scope, { launcher }: OwnEtc): Promise<Podman> {
  return podmanIn(await tempDirectory(scope, 'podman'), launcher, {});
}

async function podmanIn(
  directory: string,
  launcher: readonly string[],
  more: Readonly<Record<string, string>>,
): Promise<Podman> {
  await writeFile(join(directory, 'auth.json'), '{}');
  const env = { ...process.env, ...more, REGISTRY_AUTH_FILE: join(directory, 'auth.json') };
  const [podman = '', ...storage]: readonly string[] = [
    ...launcher,
    programPath('podman'),
    `--root=${join(directory, 'root')}`,
    `--runroot=${join(directory, 'run')}`,
    `--tmpdir=${join(directory, 'tmp')}`,
    '--storage-driver=vfs',
    '--events-backend=file',
  ];
  return {
    pull: (name, ...flags) => run(podman, [...storage, 'pull', '--quiet', ...flags, name], { env }),
    login: async (host, user, password) => {
      const tls = launcher.length > 0 ? [] : ['--tls-verify=false'];
      const args = [...storage, 'login', ...tls, '--username', user, '--password-stdin', host];
      await mustRun(podman, args, { env, input: password });
    },
  };
}

/** As podman can name it: there is no colon in a path. */
export const inPath = (host: string): string => host.replace(':', '_');
