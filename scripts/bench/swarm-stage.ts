import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TestLayout } from '../../test/helpers/images.ts';
import { mustRun, startProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import type { Lan, LanHost } from './lan.ts';
import type { Client, Task } from './swarm-clients.ts';

const REPOSITORY = 'bench/blob';
/** GNU time: seconds, user, system, largest resident set in KiB. */
const TIME_FORMAT = '%e %U %S %M';

/** What one node took. Seconds, bytes. */
export interface NodeRun {
  readonly seconds: number;
  readonly cpu: number;
  readonly rss: number;
  readonly stdout: string;
}

/** An image in front of which a service stands, on the gateway's side; what every node is told. */
export type Stage = Omit<Task, 'directory' | 'address'>;

/**
 * A service of its own for each run: no tracker remembers the peers of another.
 * @param layers bytes of each
 * @param cold the service has not seen the layers (else their torrents are made beforehand)
 */
export async function openStage(
  scope: Scope,
  { gateway }: Pick<Lan, 'gateway'>,
  layers: readonly number[],
  cold: boolean,
): Promise<Stage> {
  const quayctl = await installBundle(scope);
  const layout = await TestLayout.create(await tempDirectory(scope, 'swarm'));
  const image = await layout.addImage({ layers: layers.map(randomLayer) }, `${REPOSITORY}:1`);
  await layout.addImage({ layers: [randomLayer(2 ** 21)] }, `${REPOSITORY}:small`);
  const { env } = await quayctlNode(scope);
  const listen = `${gateway.address}:7070`;
  const [program, args] = gateway.inside(process.execPath, [
    ...[quayctl, 'serve', '--upstream', `oci:${layout.directory}`, '--listen', listen],
  ]);
  const service = startProcess(program, args, { env });
  scope.after(async () => void (await service.kill()));
  await service.waitFor(/http:\/\//);
  const base = `http://${listen}`;
  const torrents: string[] = [];
  for (const { digest } of cold ? [] : image.layers) {
    const torrent = join(layout.directory, `${torrents.length}.torrent`);
    const ask = `${base}/c1/torrent/${REPOSITORY}/blobs/${digest}?ns=${listen}&wait=60`;
    await mustRun(...gateway.inside('curl', ['-sSf', '-o', torrent, ask]));
    torrents.push(torrent);
  }
  await warmCode(scope, gateway, quayctl, `${listen}/${REPOSITORY}:small`, base);
  const [first] = image.layers;
  return {
    image: `${listen}/${REPOSITORY}:1`,
    service: base,
    torrent: torrents[0] ?? '',
    blobUrl: `${base}/v2/${REPOSITORY}/blobs/${first?.digest}`,
    quayctl,
  };
}

/** One client on one machine, from the start of its process to its end. */
export async function runNode(scope: Scope, node: LanHost, client: Client, stage: Stage): Promise<NodeRun> {
  const { home, env } = await quayctlNode(scope);
  const directory = join(home, 'out');
  await mkdir(directory);
  const figures = join(home, 'time');
  const command = client({ ...stage, directory, address: node.address });
  const [program, args] = node.inside('/usr/bin/time', ['-f', TIME_FORMAT, '-o', figures, ...command.flat()]);
  const child = startProcess(program, args, { env: { ...env, XDG_CACHE_HOME: codeCache(stage.quayctl) } });
  scope.after(() => node.silence());
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`${command.flat().join(' ')}: exit ${code}\n${child.stderr()}`);
  const line = (await readFile(figures, 'utf8')).trim();
  const [seconds = NaN, user = NaN, system = NaN, rss = NaN] = line.split(' ').map(Number);
  return { seconds, cpu: user + system, rss: rss * 1024, stdout: child.stdout() };
}

function randomLayer(size: number): Parameters<TestLayout['addImage']>[0]['layers'][number] {
  const content = { random: size, seed: String(Math.random()) };
  return { entries: [{ name: 'blob', content }], compression: 'none' };
}

/** The cache of compiled code is warm, as on any machine where the program has run before. */
async function warmCode(
  scope: Scope,
  host: LanHost,
  quayctl: string,
  image: string,
  service: string,
): Promise<void> {
  const { env } = await quayctlNode(scope);
  const pull = [quayctl, 'torrent', 'pull', image, '--insecure', '--torrent-service', service];
  const [program, args] = host.inside(process.execPath, pull);
  await mustRun(program, args, { env: { ...env, XDG_CACHE_HOME: codeCache(quayctl) } });
}

function codeCache(quayctl: string): string {
  return join(dirname(quayctl), 'cache');
}
