import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Scope } from '../../test/helpers/processes.ts';

const exec = promisify(execFile);

/** A network namespace behind a shaped link: what runs in it is far away, what does not is here. */
export interface FarNetwork {
  /** The far end, as seen from here. */
  readonly address: string;
  /** Puts a command into the far namespace. */
  readonly inside: (program: string, args: readonly string[]) => [string, string[]];
  /** What the link carries from now on, as tc takes it, or `none` for all that the machine can. */
  readonly shape: (rate: string) => Promise<void>;
  /** Bytes that came from the far end to here, by the interface's own counter. */
  readonly received: () => Promise<number>;
}

/**
 * Needs root, ip and tc (Debian's iproute2).
 * @param rate as tc takes it: `320mbit`; `none` for a link without a limit
 */
export async function openFarNetwork(scope: Scope, rate: string): Promise<FarNetwork> {
  // Names and addresses of one run must not collide with another's.
  const id = process.pid % 60_000;
  const [space, here, there] = [`quay${id}`, `qh${id}`, `qt${id}`];
  const subnet = `10.${200 + (id >> 14)}.${(id >> 6) & 255}.${(id & 63) * 4}`;
  const at = (offset: number): string => subnet.replace(/\d+$/, (last) => String(Number(last) + offset));
  scope.after(async () => {
    await exec('ip', ['link', 'del', here]).catch(() => undefined);
    await exec('ip', ['netns', 'del', space]).catch(() => undefined);
  });
  const ip = (...args: string[]): Promise<unknown> => exec('ip', args);
  await ip('netns', 'add', space);
  await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there);
  await ip('link', 'set', there, 'netns', space);
  await ip('addr', 'add', `${at(1)}/30`, 'dev', here);
  await ip('link', 'set', here, 'up');
  await ip('netns', 'exec', space, 'ip', 'addr', 'add', `${at(2)}/30`, 'dev', there);
  await ip('netns', 'exec', space, 'ip', 'link', 'set', there, 'up');
  await ip('netns', 'exec', space, 'ip', 'link', 'set', 'lo', 'up');
  const shape = async (limit: string): Promise<void> => {
    const tc = (...args: string[]): Promise<unknown> =>
      exec('ip', ['netns', 'exec', space, 'tc', 'qdisc', ...args]);
    if (limit === 'none') await tc('del', 'dev', there, 'root').catch(() => undefined);
    else await tc('replace', 'dev', there, 'root', 'tbf', 'rate', limit, 'burst', '256k', 'latency', '50ms');
  };
  await shape(rate);
  return {
    address: at(2),
    shape,
    inside: (program, args) => ['ip', ['netns', 'exec', space, program, ...args]],
    received: async () => {
      const { stdout } = await exec('ip', ['-j', '-s', 'link', 'show', here]);
      const [link] = JSON.parse(stdout) as [{ stats64: { rx: { bytes: number } } }];
      return link.stats64.rx.bytes;
    },
  };
}
