import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startProcess, type Output, type RunningProcess, type Scope } from './processes.ts';
import { tempDirectory } from './temp.ts';

export interface NodeOptions {
  /** Added to the isolated environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Another program than the checkout's `bin/quayctl`, e.g. an installed one. */
  readonly program?: string;
  /** What starts it, e.g. in other namespaces: a command that takes another one behind it. */
  readonly launcher?: readonly string[];
}

/** One machine in the eyes of quayctl: its own home, store, data, credentials and working directory. */
export interface QuayctlNode {
  readonly home: string;
  /** Its store, in QUAYCTL_STORE. */
  readonly store: string;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Runs the command line to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<Output>;
  /** Starts it; it is killed with the test. */
  start(args: readonly string[], options?: RunOptions): RunningProcess;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

const CHECKOUT_PROGRAM = join(import.meta.dirname, '../../bin/quayctl');
/** Where Node keeps the compiled sources: without it, half of the processor time of a start goes into compiling. */
export const COMPILE_CACHE = join(import.meta.dirname, '../../node_modules/.cache/quayctl-tests');

/** A home with nothing in it; quayctl run there finds no credential and no engine of the real user. */
export async function quayctlNode(scope: Scope, options: NodeOptions = {}): Promise<QuayctlNode> {
  const running = new Set<RunningProcess>();
  scope.after(async () => {
    await Promise.all([...running].map((process) => process.kill('SIGKILL')));
  });
  const home = await tempDirectory(scope, 'node');
  const folders = { store: join(home, 'store'), cwd: join(home, 'work'), runtime: join(home, 'run') };
  for (const folder of [folders.cwd, folders.runtime]) await mkdir(folder, { mode: 0o700 });
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    LANG: 'C.UTF-8',
    QUAYCTL_STORE: folders.store,
    XDG_CACHE_HOME: join(home, 'cache'),
    XDG_CONFIG_HOME: join(home, 'config'),
    XDG_DATA_HOME: join(home, 'data'),
    XDG_RUNTIME_DIR: folders.runtime,
    DOCKER_CONFIG: join(home, 'docker'),
    DOCKER_HOST: `unix://${join(home, 'no-docker.sock')}`,
    // An installed program keeps its own.
    ...(options.program === undefined ? { NODE_COMPILE_CACHE: COMPILE_CACHE } : {}),
    ...options.env,
  };

  const start = (args: readonly string[], at: RunOptions = {}): RunningProcess => {
    const { program = CHECKOUT_PROGRAM, launcher = [] } = options;
    const [command = '', ...rest] = [...launcher, process.execPath, program, ...args];
    const process_ = startProcess(command, rest, {
      cwd: at.cwd ?? folders.cwd,
      env: { ...env, ...at.env },
      ...(at.input === undefined ? {} : { input: at.input }),
    });
    running.add(process_);
    void process_.exited.then(() => running.delete(process_));
    return process_;
  };

  return {
    home,
    store: folders.store,
    cwd: folders.cwd,
    env,
    start,
    run: async (args, at) => {
      const process_ = start(args, at);
      const exit = await process_.exited;
      return { ...exit, stdout: process_.stdout(), stderr: process_.stderr() };
    },
  };
}
