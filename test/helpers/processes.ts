import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** What a test gives to its helpers: its TestContext, or `suiteScope()` for what a whole suite shares. */
export interface Scope {
  after(end: () => void | Promise<void>): void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  readonly cwd?: string;
  /** The whole environment; default: that of the test. */
  readonly env?: NodeJS.ProcessEnv;
  /** Written to stdin, which is then closed; default: nothing. */
  readonly input?: string | Uint8Array;
}

/** A child process with its output kept as text. */
export interface RunningProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  stdout(): string;
  stderr(): string;
  /** Waits until the output (stdout, then stderr) matches; fails when the process ends first. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Sends the signal (default SIGTERM) and waits for the end; SIGKILL after 20 s. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
}

export interface Output extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

const DEFAULT_WAIT_MS = 30_000;
const KILL_AFTER_MS = 20_000;
/** util-linux: the kernel ends the child when this process dies, whatever kills it. */
const SETPRIV = '/usr/bin/setpriv';

export function startProcess(
  program: string,
  args: readonly string[],
  options: ProcessOptions = {},
): RunningProcess {
  const child = spawnTied(program, args, options);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      stderr.push(Buffer.from(`${error.message}\n`));
      resolve({ code: null, signal: null });
    });
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  child.stdin?.on('error', () => {}); // the child may end before it has read everything
  child.stdin?.end(options.input);

  const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString();
  const all = (): string => text(stdout) + text(stderr);

  return {
    pid: child.pid ?? 0,
    exited,
    stdout: () => text(stdout),
    stderr: () => text(stderr),
    waitFor: (pattern, timeoutMs = DEFAULT_WAIT_MS) =>
      new Promise((resolve, reject) => {
        const finish = (settle: () => void): void => {
          clearTimeout(timer);
          child.stdout?.off('data', look);
          child.stderr?.off('data', look);
          settle();
        };
        const fail = (why: string): void =>
          finish(() =>
            reject(new Error(`${program} ${why} before ${String(pattern)}:\n${all().slice(-4000)}`)),
          );
        const look = (): void => {
          const match = all().match(pattern);
          if (match !== null) finish(() => resolve(match));
        };
        const timer = setTimeout(() => fail(`was silent for ${timeoutMs} ms`), timeoutMs);
        child.stdout?.on('data', look);
        child.stderr?.on('data', look);
        void exited.then(() => {
          look();
          fail('ended');
        });
        look();
      }),
    async kill(signal = 'SIGTERM') {
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
      try {
        return await exited;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Runs a program to its end, whatever its exit code. */
export async function run(
  program: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<Output> {
  const process = startProcess(program, args, options);
  const exit = await process.exited;
  return { ...exit, stdout: process.stdout(), stderr: process.stderr() };
}

/** Runs a program that must succeed; gives its stdout. */
export async function mustRun(
  program: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<string> {
  const { code, signal, stdout, stderr } = await run(program, args, options);
  if (code !== 0) {
    throw new Error(`${program} ${args.join(' ')}: ${signal ?? `exit ${code}`}\n${stderr}${stdout}`);
  }
  return stdout;
}

function spawnTied(program: string, args: readonly string[], options: ProcessOptions): ChildProcess {
  const [command, ...rest] = existsSync(SETPRIV)
    ? [SETPRIV, '--pdeathsig', 'KILL', program, ...args]
    : [program, ...args];
  return spawn(command, rest, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

function collect(stream: Readable | null): Buffer[] {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return chunks;
}
