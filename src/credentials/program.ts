import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { QuayctlError } from '../base/errors.ts';

/** Credentials have a few kilobytes, so a program that prints more is not a credential helper. */
const MAX_STDOUT_BYTES = 256 * 1024;
/** How much of a program's complaints is kept: enough to see the reason. */
const MAX_STDERR_BYTES = 16 * 1024;
/** How long the pipes are read after a helper's end. A daemon that it started may hold them for ever. */
const PIPE_GRACE_MS = 500;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ProgramCall {
  /** For messages. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** No secrets here: every user of the machine can read them. */
  readonly args: readonly string[];
  readonly input: string;
  readonly env: Environment;
  readonly timeLimitMs: number;
}

export interface ProgramAnswer {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end; it never outlives the call, nor holds our process.
 * @throws QuayctlError `credentials` when it does not start, takes too long or says too much; the signal's reason
 */
export async function askProgram(call: ProgramCall, signal: AbortSignal): Promise<ProgramAnswer> {
  signal.throwIfAborted();
  const limit = AbortSignal.timeout(call.timeLimitMs);
  const either = AbortSignal.any([signal, limit]);
  const child = spawn(call.path, call.args, { env: { ...call.env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];

  return new Promise<ProgramAnswer>((resolve, reject) => {
    let grace: NodeJS.Timeout | undefined;
    const finish = (settle: () => void): void => {
      clearTimeout(grace);
      either.removeEventListener('abort', onAbort);
      for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      settle();
    };
    const fail = (reason: string, cause?: unknown): void =>
      finish(() => reject(new QuayctlError('credentials', `${call.name} ${reason}`, { cause })));
    const succeed = (): void =>
      finish(() => resolve({ exitCode: child.exitCode, stdout: textOf(stdout), stderr: textOf(stderr) }));
    const onAbort = (): void => {
      if (!signal.aborted) return fail(`gave no answer in ${call.timeLimitMs / 1000} s`);
      const reason: unknown = signal.reason;
      finish(() => reject(reason instanceof Error ? reason : new Error('aborted', { cause: reason })));
    };

    either.addEventListener('abort', onAbort, { once: true });
    child.once('error', (error) => fail('does not start', error));
    child.once('exit', () => (grace = setTimeout(succeed, PIPE_GRACE_MS)));
    child.once('close', succeed);
    child.stdout.on('data', (chunk: Buffer) => {
      stdout.push(chunk);
      if (sizeOf(stdout) > MAX_STDOUT_BYTES) fail(`sends more than ${MAX_STDOUT_BYTES} bytes`);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (sizeOf(stderr) < MAX_STDERR_BYTES) stderr.push(chunk.subarray(0, MAX_STDERR_BYTES));
    });
    // It may end without having read its input; its exit code then says more than the broken pipe.
    child.stdin.on('error', () => {});
    child.stdin.end(call.input);
  });
}

/**
 * Where a program lies: only absolute entries of PATH count, so that no directory that a user happens to stand in can
 * put a program in between.
 */
export async function findProgram(name: string, env: Environment): Promise<string | undefined> {
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = join(folder, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

function textOf(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString('utf8');
}

function sizeOf(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}
