import { startProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import type { FarNetwork } from './far-network.ts';

/**
 * The service stands where it belongs: on the registry's side of the link.
 * @returns its URL
 */
export async function startFarService(
  scope: Scope,
  network: FarNetwork,
  registry: string,
  program: string,
): Promise<string> {
  const node = await quayctlNode(scope);
  const listen = `${network.address}:7070`;
  const [command, args] = network.inside(process.execPath, [
    program,
    'serve',
    '--upstream',
    `http://${registry}`,
    '--insecure',
    '--listen',
    listen,
  ]);
  const service = startProcess(command, args, { env: node.env });
  scope.after(async () => void (await service.kill()));
  await service.waitFor(/listening|ready|http:\/\//i);
  return `http://${listen}`;
}
