import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TestLayout, type BuiltDescriptor } from '../../test/helpers/images.ts';
import { mustRun, startProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { programPath } from '../../test/helpers/programs.ts';
import { pushImage } from '../../test/helpers/push.ts';
import { startRegistry } from '../../test/helpers/registry.ts';
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
export interface Stage extends Omit<Task, 'directory' | 'address'> {
  /** The same image at the docker-registry behind the gateway; undefined where the service reads a layout. */
  readonly registryImage: string | undefined;
}

/** Where the service stands, and what it knows. */
export interface ServicePlace {
  /** `registry`: on the registry's side of the gateway; `site`: among the nodes, on a machine of its own. */
  readonly side: 'registry' | 'site';
  /** It has not seen the layers (else their torrents are made beforehand). */
  readonly cold: boolean;
  /** Its upstream is a docker-registry, too, where it is warm and on the registry's side. */
  readonly hasRegistry?: boolean;
}

/**
 * A service of its own for each run: no tracker remembers the peers of another. Where it is cold, or at the site, its
 * upstream is a docker-registry behind the gateway; else it is a layout on the service's own disk.
 * @param layers bytes of each
 * @param site the machine for a service at the site
 */
export async function openStage(
  scope: Scope,
  { gateway }: Pick<Lan, 'gateway'>,
  layers: readonly number[],
  { side, cold, hasRegistry = false }: ServicePlace = { side: 'registry', cold: false },
  site: LanHost = gateway,
): Promise<Stage> {
  const quayctl = await installBundle(scope);
  const layout = await TestLayout.create(await tempDirectory(scope, 'swarm'));
  const image = await layout.addImage({ layers: layers.map(randomLayer) }, `${REPOSITORY}:1`);
  const small = await layout.addImage({ layers: [randomLayer(2 ** 21)] }, `${REPOSITORY}:small`);
  const host = side === 'site' ? site : gateway;
  const listen = `${host.address}:7070`;
  const isFar = cold || side === 'site' || hasRegistry;
  const images = { 1: image.manifest, small: small.manifest };
  const registry = isFar ? await startRegistryAt(scope, gateway, layout, images) : undefined;
  const upstream = registry === undefined ? `oci:${layout.directory}` : `http://${registry}`;
  const { env } = await quayctlNode(scope);
  const serve = [quayctl, 'serve', '--upstream', upstream, '--insecure', '--listen', listen];
  const service = startProcess(...host.inside(process.execPath, serve), { env });
  scope.after(async () => void (await service.kill()));
  await service.waitFor(/http:\/\//);
  const base = `http://${listen}`;
  const torrents: string[] = [];
  for (const { digest } of cold ? [] : image.layers) {
    const torrent = join(layout.directory, `${torrents.length}.torrent`);
    const ask = `${base}/c1/torrent/${REPOSITORY}/blobs/${digest}?ns=${listen}&wait=60`;
    await mustRun(...host.inside('curl', ['-sSf', '-o', torrent, ask]));
    torrents.push(torrent);
  }
  await warmCode(scope, host, quayctl, `${listen}/${REPOSITORY}:small`, base);
  const [first] = image.layers;
  return {
    image: `${listen}/${REPOSITORY}:1`,
    registryImage: registry === undefined ? undefined : `${registry}/${REPOSITORY}:1`,
    service: base,
    torrent: torrents[0] ?? '',
    blobUrl: `${base}/v2/${REPOSITORY}/blobs/${first?.digest}`,
    quayctl,
  };
}

/** A real registry behind the gateway, with these images by their tags. @returns its HOST:PORT */
export async function startRegistryAt(
  scope: Scope,
  gateway: LanHost,
  layout: TestLayout,
  images: Readonly<Record<string, BuiltDescriptor>>,
  repository = REPOSITORY,
): Promise<string> {
  // It is filled where this process can reach it.
  const near = await startRegistry(scope);
  for (const [tag, manifest] of Object.entries(images)) {
    await pushImage(layout, manifest, { url: near.url, repository, tag });
  }
  await near.kill();
  const config = join(await tempDirectory(scope, 'registry'), 'config.yml');
  const host = `${gateway.address}:5000`;
  // JSON is YAML.
  const settings = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: near.storage } },
    http: { addr: host },
  };
  await writeFile(config, JSON.stringify(settings));
  const server = startProcess(...gateway.inside(programPath('docker-registry'), ['serve', config]));
  scope.after(async () => void (await server.kill('SIGKILL')));
  const ask = ['-sSf', '--retry', '100', '--retry-delay', '1', '--retry-connrefused', `http://${host}/v2/`];
  await mustRun(...gateway.inside('curl', ask));
  return host;
}

/** Resolves when it has everything and gives it. */
export async function seedOn(
  scope: Scope,
  host: LanHost,
  { quayctl, image, service }: Pick<Stage, 'quayctl' | 'image' | 'service'>,
  options: readonly string[] = [],
): Promise<void> {
  const { env } = await quayctlNode(scope);
  const [program, args] = host.inside(process.execPath, [
    ...[quayctl, 'torrent', 'seed', image, '--insecure', '--torrent-service', service, '--no-progress'],
    ...options,
  ]);
  const child = startProcess(program, args, { env });
  scope.after(() => host.silence());
  await child.waitFor(/[Ss]eeding/);
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

export function randomLayer(size: number): Parameters<TestLayout['addImage']>[0]['layers'][number] {
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
