import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { CommanderError } from 'commander';
import { failureOf, type Failure } from './failure.ts';
import { printable } from './printable.ts';
import { makeProgram } from './program.ts';
import type { Session } from './session.ts';
import { listenForSignals } from './signals.ts';

/**
 * One run of the program.
 * @param argv without the interpreter and the script
 * @returns the exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  const interruption = listenForSignals();
  // A reader of ours that went away (`quayctl ... | head`) is no error.
  process.stdout.on('error', ignoreBrokenPipe);
  process.stderr.on('error', ignoreBrokenPipe);
  let exitCode = 0;
  const session = makeSession(interruption.signal, (code) => (exitCode = code));
  try {
    await makeProgram(session).parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    // Help that was printed because no command was named has said everything.
    if (error instanceof CommanderError && error.code === 'commander.help') return 2;
    const failure = failureOf(error, interruption.exitCode());
    report(failure, argv, session);
    return failure.exitCode;
  } finally {
    interruption.dispose();
  }
}

function makeSession(signal: AbortSignal, exitWith: (code: number) => void): Session {
  return {
    version: version(),
    terminal: {
      // The one place where text leaves the program, bars excepted, whose lines come from reporter.ts.
      out: (text) => void process.stdout.write(printable(text)),
      err: (text) => void process.stderr.write(printable(text)),
      interactive: process.stderr.isTTY && process.env['TERM'] !== 'dumb',
      stderr: process.stderr,
      // Opened when it is read: a pull never does.
      get stdin() {
        return process.stdin;
      },
    },
    env: process.env,
    home: homedir(),
    uid: process.geteuid?.(),
    signal,
    exitWith,
  };
}

/** From package.json, which lies at the same distance from src/cli and from the bundle's dist/cli. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** stderr: what failed, why, what to do. stdout, with --json: the same as an object. */
function report(failure: Failure, argv: readonly string[], { terminal }: Session): void {
  const { code, message, hint, exitCode } = failure;
  if (argv.includes('--json')) {
    const error = { code, message, ...(hint === undefined ? {} : { hint }) };
    terminal.out(`${JSON.stringify({ error, exitCode })}\n`);
  }
  terminal.err(`quayctl: ${message}\n`);
  for (const cause of failure.causes) terminal.err(`  caused by: ${cause}\n`);
  if (hint !== undefined) terminal.err(`hint: ${hint}\n`);
  if (code === 'usage') terminal.err('See `quayctl --help`, or --help after any command.\n');
  if (argv.includes('--debug') && failure.stack !== undefined) terminal.err(`${failure.stack}\n`);
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
