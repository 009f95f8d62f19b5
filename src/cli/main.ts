import { homedir } from 'node:os';
import { CommanderError } from 'commander';
import type { QuayctlError } from '../base/errors.ts';
import { version } from './build-facts.ts';
import { readSettings, variablesFor } from './config.ts';
import { failureOf, printFailure, type Failure } from './failure.ts';
import { openOutput, type Output } from './output.ts';
import { asPluginCall, PLUGIN_ENTRY, pluginMetadata } from './plugin-call.ts';
import { makeProgram } from './program.ts';
import type { Session } from './session.ts';
import { listenForSignals, type Interruption } from './signals.ts';
import { withSuggestion } from './suggestions.ts';

/**
 * One run of the program.
 * @param argv without the interpreter and the script
 * @returns the exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  const interruption = listenForSignals();
  const output = openOutput(interruption.end);
  try {
    const exitCode = await run(argv, interruption, output);
    const lost = await output.flushed();
    return lost === undefined || exitCode !== 0 ? exitCode : tellLoss(lost, output);
  } finally {
    interruption.dispose();
  }
}

async function run(argv: readonly string[], interruption: Interruption, output: Output): Promise<number> {
  let exitCode = 0;
  const session = makeSession(interruption.signal, output, (code) => (exitCode = code));
  try {
    const call = asPluginCall(argv);
    if (call?.argv[0] === PLUGIN_ENTRY) return (session.terminal.out(pluginMetadata(session.version)), 0);
    Object.assign(process.env, call?.env);
    const program = makeProgram(session);
    const words = helpLast(call?.argv ?? argv);
    if (!words.includes('--help') && !words.includes('-h')) await configure(program, words[0], session);
    await program.parseAsync(words, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    // Help that was printed because no command was named has said everything.
    if (error instanceof CommanderError && error.code === 'commander.help') return 2;
    const lost = await output.flushed();
    if (lost !== undefined) return tellLoss(lost, output);
    const failure = withSuggestion(failureOf(error, interruption.exitCode()), error, argv);
    report(failure, argv, session);
    return failure.exitCode;
  }
}

/** What was printed did not arrive. @returns the exit code */
function tellLoss(lost: QuayctlError, output: Output): number {
  const failure = failureOf(lost, undefined);
  printFailure(failure, output);
  return failure.exitCode;
}

/** `help a b c` is `a b c --help`. */
function helpLast(argv: readonly string[]): readonly string[] {
  const [first, ...rest] = argv;
  return first === 'help' && rest.length > 0 ? [...rest, '--help'] : argv;
}

/** Configuration files count where neither a flag nor the environment says otherwise. @throws QuayctlError `usage` */
async function configure(
  program: ReturnType<typeof makeProgram>,
  command: string | undefined,
  session: Session & { settings: Session['settings'] },
): Promise<void> {
  session.settings = await readSettings(program, command, session);
  for (const [variable, value] of variablesFor(program, session.settings)) {
    if (value === undefined) delete process.env[variable];
    else process.env[variable] = value;
  }
}

function makeSession(
  signal: AbortSignal,
  { out, err }: Output,
  exitWith: (code: number) => void,
): Session & { settings: Session['settings'] } {
  return {
    version: version(),
    terminal: {
      out,
      err,
      interactive: process.stderr.isTTY && process.env['TERM'] !== 'dumb',
      stderr: process.stderr,
      // Opened when it is read: a pull never does.
      get stdin() {
        return process.stdin;
      },
    },
    env: process.env,
    home: homedir(),
    settings: new Map(),
    // Not constant: what is another user's is changed with that user's rights.
    get uid() {
      return process.geteuid?.();
    },
    signal,
    onHangup: (handler) => {
      process.on('SIGHUP', handler);
      return () => void process.off('SIGHUP', handler);
    },
    exitWith,
  };
}

/** stderr: what failed, why, what to do. stdout, with --json: the same as an object. */
function report(failure: Failure, argv: readonly string[], { terminal }: Session): void {
  const { code, message, hint, exitCode } = failure;
  if (argv.includes('--json')) {
    const error = { code, message, ...(hint === undefined ? {} : { hint }) };
    terminal.out(`${JSON.stringify({ error, exitCode })}\n`);
  }
  printFailure(failure, terminal);
  if (code === 'usage') terminal.err('See `quayctl --help`, or --help after any command.\n');
  if (argv.includes('--debug') && failure.stack !== undefined) terminal.err(`${failure.stack}\n`);
}
