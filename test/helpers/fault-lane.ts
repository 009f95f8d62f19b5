import { startHttpFaultProxy, type HttpFaultProxy } from './fault-proxy.ts';
import { Link } from './faults.ts';
import { randomLayer, TestLayout, type BuiltImage } from './images.ts';
import type { RunningProcess, Scope } from './processes.ts';
import { pushImage } from './push.ts';
import { quayctlNode } from './quayctl.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { tempDirectory } from './temp.ts';

/** One replica of the service, behind its proxy. */
interface Replica {
  readonly proxy: HttpFaultProxy;
  kill(): Promise<void>;
}

/**
 * All that a pull can lose, each a process of its own behind a proxy of its own: registry, torrent service, tracker (a
 * replica of the service), and a seed that has the whole image. Slow enough that a moment of a pull can be met.
 */
export interface FaultLane {
  readonly registry: TestRegistry;
  /** The registry as nodes see it. */
  readonly pipe: HttpFaultProxy;
  readonly service: Replica;
  readonly tracker: Replica;
  readonly seed: { kill(): Promise<void>; /** SIGSTOP: the kernel goes on accepting for it. */ stop(): void };
  readonly image: BuiltImage;
  /** By which nodes pull the image. */
  readonly name: string;
  /** Bytes of all its blobs. */
  readonly size: number;
  /** Everything is well again. */
  heal(): Promise<void>;
}

const LAYERS = [5_000_000, 3_500_000, 400_000];
/** Bytes a second that the registry and the seed give, each. */
const RATE = 3_000_000;

/** @param serviceEnv added to the environment of the replica that makes the torrents */
export async function openFaultLane(
  scope: Scope,
  serviceEnv: Readonly<Record<string, string>> = {},
): Promise<FaultLane> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
  const registry = await startRegistry(scope);
  const layers = LAYERS.map((bytes, at) => randomLayer(bytes, `layer ${at}`));
  const image = await layout.addImage({ layers });
  await pushImage(layout, image.manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
  const pipe = await startHttpFaultProxy(scope, registry.url);
  const name = `${pipe.host}/team/app:1.0`;

  const home = await quayctlNode(scope);
  const replica = async (publicUrl: (own: HttpFaultProxy) => string, env = {}) => {
    let url = '';
    const proxy = await startHttpFaultProxy(scope, () => url);
    const aliases = ['--alias', pipe.host, '--alias', proxy.host];
    // Its copies of blobs would stand in for the registry, whose loss is what the lane is for.
    const flags = ['--upstream', registry.url, ...aliases, '--listen', '127.0.0.1:0', '--cache-size', '0'];
    const child = restartable(async () => {
      const process = home.start(['serve', ...flags, '--public-url', publicUrl(proxy)], { env });
      [, url = ''] = await process.waitFor(/event=listening url=(http:\S+)/);
      return process;
    });
    return { proxy, ...child };
  };
  // The one who is asked for torrents names the other as the tracker; both have one secret.
  const tracker = await replica((own) => own.url);
  const service = await replica(() => tracker.proxy.url, serviceEnv);
  const giver = await quayctlNode(scope);
  const seed = restartable(async () => {
    const flags = ['--torrent-service', service.proxy.url, '--upload-rate', String(RATE / 1000)];
    const process = giver.start(['torrent', 'seed', name, ...flags]);
    await process.waitFor(/Seeding/);
    return process;
  });

  const heal = async (): Promise<void> => {
    for (const proxy of [pipe, service.proxy, tracker.proxy]) {
      proxy.cutAll();
      proxy.faults.length = 0;
      proxy.link = new Link(Infinity);
    }
    await registry.restart();
    // A new tracker knows nobody: a seed that has just begun is known at once, the old one in half a minute.
    if (await tracker.ensure()) await seed.kill();
    await service.ensure();
    await seed.ensure();
    pipe.link = new Link(RATE);
  };
  const size = [image.config, ...image.layers].reduce((sum, blob) => sum + blob.size, 0);
  return { registry, pipe, service, tracker, seed, image, name, size, heal };
}

/** A process that tests may end as they like, and that is there again when `ensure` has been called. */
function restartable(start: () => Promise<RunningProcess>) {
  let running: RunningProcess | undefined;
  let isStopped = false;
  const kill = async (): Promise<void> => {
    await running?.kill('SIGKILL');
    running = undefined;
    isStopped = false;
  };
  return {
    kill,
    stop: (): void => {
      if (running !== undefined) process.kill(running.pid, 'SIGSTOP');
      isStopped = true;
    },
    /** @returns whether it had to be started */
    ensure: async (): Promise<boolean> => {
      if (isStopped) await kill();
      if (running !== undefined) return false;
      running = await start();
      return true;
    },
  };
}
