import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { QuayctlError } from '../../base/errors.ts';
import { findProgram, type Environment } from '../../credentials/program.ts';

/** What rkt prints: image IDs, a manifest. A store of a thousand images has 90 KB of IDs. */
const MAX_STDOUT_BYTES = 16 * 1024 * 1024;
/** Of what it complained about the end says most. */
const KEPT_LINES = 20;
const MAX_LINE = 2000;
/** How long rkt may take to clean up after SIGTERM. */
const KILL_AFTER_MS = 5_000;

export interface RktAnswer {
  /** 0, or not: rkt has no other meanings. Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  /** The last lines on stderr. */
  readonly complaint: string;
}

/** The rkt program of this machine, found in the absolute directories of PATH. */
export class RktProgram {
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  /**
   * Runs it to its end. An abort ends it first: it is asked to, then made to.
   * @param onLine told every line of stderr as it comes
   * @throws QuayctlError `engine` where it is missing or says too much; the signal's reason
   */
  async run(
    args: readonly string[],
    signal: AbortSignal,
    onLine: (line: string) => void = () => undefined,
  ): Promise<RktAnswer> {
    signal.throwIfAborted();
    const path = await findProgram('rkt', this.#env);
    if (path === undefined) {
      throw new QuayctlError('engine', 'rkt is not installed here', {
        hint: 'install rkt, or put the directory that holds it into PATH',
      });
    }
    const child = spawn(path, args, { env: { ...this.#env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (): void => endGently(child);
    signal.addEventListener('abort', stop, { once: true });
    try {
      const [stdout, complaint, exitCode] = await Promise.all([
        textOf(child.stdout),
        linesOf(child.stderr, onLine),
        endOf(child),
      ]);
      signal.throwIfAborted();
      return { exitCode, stdout, complaint };
    } catch (error) {
      stop();
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}

function endGently(child: ChildProcess): void {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  child.once('exit', () => clearTimeout(timer));
}

function endOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new QuayctlError('engine', 'rkt does not start', { cause })));
    child.once('close', resolve);
  });
}

async function textOf(stdout: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_STDOUT_BYTES) {
      throw new QuayctlError('engine', `rkt prints more than ${MAX_STDOUT_BYTES} bytes`);
    }
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function linesOf(stderr: Readable, onLine: (line: string) => void): Promise<string> {
  const kept: string[] = [];
  const tell = (line: string): void => {
    if (line.trim() === '') return;
    onLine(line);
    kept.push(line);
    if (kept.length > KEPT_LINES) kept.shift();
  };
  stderr.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stderr as AsyncIterable<string>) {
    // A progress bar redraws its line with carriage returns.
    const lines = (rest + chunk).split(/[\r\n]+/);
    rest = (lines.pop() ?? '').slice(-MAX_LINE);
    for (const line of lines) tell(line.slice(0, MAX_LINE));
  }
  tell(rest);
  return kept.join('\n');
}
