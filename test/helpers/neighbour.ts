import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import type { Attack, AttackOptions } from './attacker-process.ts';
import { mustRun, startProcess, type RunningProcess, type Scope } from './processes.ts';
import { programPath, skipWithout } from './programs.ts';

/** One request of a neighbour. */
export interface NeighbourRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Which of the neighbour's addresses it comes from; default: the first. */
  readonly from?: string;
}

export interface NeighbourAnswer {
  /** 0 where the connection ended without an answer; `body` then says why. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Another machine on this machine's link, in the eyes of the network: nothing of it is loopback. */
export interface Neighbour {
  /** This machine's address on that link, for servers of the test. */
  readonly here: string;
  /** The same, IPv6; in the same /64 as the first addresses of `addresses6`. */
  readonly here6: string;
  /** The neighbour's addresses. */
  readonly addresses: readonly string[];
  /** Twelve of one /64, then one of another. */
  readonly addresses6: readonly string[];
  /** For programs that are started by other means: a command that takes theirs behind it. */
  readonly launcher: readonly string[];
  /** Starts a program there; it is killed with the test. */
  start(program: string, args: readonly string[], input?: string): RunningProcess;
  /** Starts an attack there, and waits until everything is sent; it goes on until it is killed. */
  attack(kind: Attack, options: AttackOptions): Promise<RunningProcess>;
  /** One after the other, each on a connection of its own. */
  ask(requests: readonly NeighbourRequest[]): Promise<readonly NeighbourAnswer[]>;
}

/** For the `skip` of a test that needs a neighbour. */
export function skipWithoutNeighbour(): string | false {
  return skipWithout('root', 'ip');
}

const ASK = join(import.meta.dirname, 'ask-process.ts');
const ATTACKER = join(import.meta.dirname, 'attacker-process.ts');
const ADDRESSES = 12;

/** A network namespace and a pair of virtual cables to it, with names and addresses that no other run has. As root. */
export async function openNeighbour(scope: Scope): Promise<Neighbour> {
  const ip = (...args: string[]): Promise<string> => mustRun(programPath('ip'), args);
  const id = `${process.pid.toString(36)}${randomInt(36 ** 3).toString(36)}`;
  const [name, cable] = [`qsrv${id}`, `qs${id}`];
  const net = `10.${randomInt(100, 250)}.${randomInt(0, 256)}`;
  const net6 = `fd42:${randomInt(1, 65_536).toString(16)}:${randomInt(1, 65_536).toString(16)}`;
  const running: RunningProcess[] = [];
  scope.after(async () => {
    await Promise.all(running.map((process) => process.kill('SIGKILL')));
    // The cable goes with the namespace that its other end lies in.
    await ip('netns', 'del', name).catch(() => undefined);
  });
  await ip('netns', 'add', name);
  await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  await ip('addr', 'add', `${net}.1/24`, 'dev', cable);
  await ip('addr', 'add', `${net6}::1/48`, 'dev', cable, 'nodad');
  await ip('link', 'set', cable, 'up');
  await ip('-n', name, 'link', 'set', 'eth0', 'up');
  await ip('-n', name, 'link', 'set', 'lo', 'up');
  const addresses = Array.from({ length: ADDRESSES }, (_, at) => `${net}.${at + 2}`);
  const addresses6 = Array.from({ length: ADDRESSES }, (_, at) => `${net6}::${at + 2}`);
  addresses6.push(`${net6}:1::2`);
  for (const each of addresses) await ip('-n', name, 'addr', 'add', `${each}/24`, 'dev', 'eth0');
  for (const each of addresses6) await ip('-n', name, 'addr', 'add', `${each}/48`, 'dev', 'eth0', 'nodad');
  const start: Neighbour['start'] = (program, args, input) => {
    const inside = ['netns', 'exec', name, program, ...args];
    const started = startProcess(programPath('ip'), inside, input === undefined ? {} : { input });
    running.push(started);
    return started;
  };
  return {
    here: `${net}.1`,
    here6: `${net6}::1`,
    addresses,
    addresses6,
    launcher: [programPath('ip'), 'netns', 'exec', name],
    start,
    async attack(kind, options) {
      const attacker = start(process.execPath, [ATTACKER, kind], JSON.stringify(options));
      await attacker.waitFor(/^ready$/m, 60_000);
      return attacker;
    },
    async ask(requests) {
      const asking = start(process.execPath, [ASK], JSON.stringify(requests));
      const { code } = await asking.exited;
      if (code !== 0) throw new Error(`the neighbour could not ask: ${asking.stderr()}`);
      return JSON.parse(asking.stdout()) as NeighbourAnswer[];
    },
  };
}
