import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startProcess, type Scope } from '../../test/helpers/processes.ts';
import { programPath } from '../../test/helpers/programs.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import type { FarNetwork } from './far-network.ts';

/**
 * A real docker-registry in the far namespace.
 * @param storage where it keeps its content; by default in a directory that goes away with it
 * @returns its HOST:PORT as seen from here
 */
export async function startFarRegistry(scope: Scope, network: FarNetwork, storage?: string): Promise<string> {
  const directory = await tempDirectory(scope, 'far-registry');
  const host = `${network.address}:5000`;
  const config = join(directory, 'config.yml');
  // JSON is YAML.
  const settings = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage ?? join(directory, 'storage') } },
    http: { addr: host },
  };
  await writeFile(config, JSON.stringify(settings));
  const [command, args] = network.inside(programPath('docker-registry'), ['serve', config]);
  const server = startProcess(command, args);
  scope.after(async () => void (await server.kill('SIGKILL')));
  await answers(`http://${host}/v2/`);
  return host;
}

async function answers(url: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      await fetch(url);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
