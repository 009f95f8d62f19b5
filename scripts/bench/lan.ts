import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Scope } from '../../test/helpers/processes.ts';

const exec = promisify(execFile);

/** A machine of its own in the eyes of the network: a namespace with one address. */
export interface LanHost {
  readonly address: string;
  /** Puts a command into it. */
  readonly inside: (program: string, args: readonly string[]) => [string, string[]];
  /** Kills everything that runs in it, children of children too. */
  readonly silence: () => Promise<void>;
  /** Its link carries no more than this either way. */
  readonly shape: (rate: string) => Promise<void>;
  /** Bytes that came to it, by the interface's own counter, headers included. */
  readonly received: () => Promise<number>;
}

/** Hosts on one switch, and a gateway whose link to them is thin. */
export interface Lan {
  readonly gateway: LanHost;
  readonly nodes: readonly LanHost[];
  /** Bytes that the gateway has sent into the LAN, by the interface's own counter, headers included. */
  readonly throughGateway: () => Promise<number>;
}

/**
 * Network namespaces, veth pairs and a bridge, which lies in a namespace of its own so that no firewall of the machine
 * looks at what passes. Needs root, ip and tc (Debian's iproute2). Segmentation offload stays on.
 * @param rate of the gateway's link, as tc takes it: `60mbit`; `none`: as fast as the machine
 */
export async function openLan(scope: Scope, count: number, rate: string): Promise<Lan> {
  // Names of one run must not collide with another's; addresses cannot, they live in the namespaces.
  const id = (process.pid % 100_000).toString(36);
  const hub = `qhub${id}`;
  const names = ['gw', ...Array.from({ length: count }, (_, at) => `n${at}`)].map((name) => `q${id}${name}`);
  scope.after(async () => {
    for (const name of names) await killAll(name);
    for (const name of [...names, hub]) await exec('ip', ['netns', 'del', name]).catch(() => undefined);
  });
  const ip = async (...args: string[]): Promise<void> => void (await exec('ip', args));
  await ip('netns', 'add', hub);
  await ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
  await ip('-n', hub, 'link', 'set', 'br0', 'up');
  const hosts: LanHost[] = [];
  for (const [at, name] of names.entries()) {
    const address = `10.77.${Math.floor((at + 1) / 250)}.${((at + 1) % 250) + 1}`;
    await ip('netns', 'add', name);
    await ip('-n', hub, 'link', 'add', `v${at}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    await ip('-n', hub, 'link', 'set', `v${at}`, 'master', 'br0', 'up');
    await ip('-n', name, 'addr', 'add', `${address}/16`, 'dev', 'eth0');
    await ip('-n', name, 'link', 'set', 'eth0', 'up');
    await ip('-n', name, 'link', 'set', 'lo', 'up');
    hosts.push({
      address,
      inside: (program, args) => ['ip', ['netns', 'exec', name, program, ...args]],
      silence: () => killAll(name),
      shape: async (to) => {
        await exec('tc', ['-n', name, ...shaping('eth0', to)]);
        await exec('tc', ['-n', hub, ...shaping(`v${at}`, to)]);
      },
      // What the switch sends into its cable.
      received: () => counted(hub, `v${at}`, 'tx'),
    });
  }
  const [gateway, ...nodes] = hosts;
  const [gatewayName] = names;
  if (gateway === undefined || gatewayName === undefined) throw new Error('no hosts');
  if (rate !== 'none') await exec('tc', ['-n', gatewayName, ...shaping('eth0', rate)]);
  return {
    gateway,
    nodes,
    throughGateway: () => counted(hub, 'v0', 'rx'),
  };
}

function shaping(device: string, rate: string): string[] {
  return ['qdisc', 'add', 'dev', device, 'root', 'tbf', 'rate', rate, 'burst', '128k', 'latency', '50ms'];
}

async function counted(space: string, device: string, way: 'rx' | 'tx'): Promise<number> {
  const { stdout } = await exec('ip', ['-n', space, '-j', '-s', 'link', 'show', device]);
  const [link] = JSON.parse(stdout) as [{ stats64: Record<'rx' | 'tx', { bytes: number }> }];
  return link.stats64[way].bytes;
}

async function killAll(name: string): Promise<void> {
  const { stdout } = await exec('ip', ['netns', 'pids', name]).catch(() => ({ stdout: '' }));
  for (const pid of stdout.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
