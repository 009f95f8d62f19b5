import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { formatDuration } from '../base/units.ts';
import type { Receipt } from '../pull/receipt.ts';
import type { Talk } from './reporter.ts';
import type { Session } from './session.ts';

/** What a hook may take. It tells somebody, or starts something that goes on by itself. */
const HOOK_MS = 60_000;
/** After a request to end it is killed. */
const KILL_MS = 2_000;

/** What a hook is told: the receipt, without anything secret. A number is bytes, or seconds. */
function hookVariables(receipt: Receipt): Readonly<Record<string, string>> {
  const { image, digest, engine, p2p, total } = receipt;
  return {
    QUAYCTL_HOOK_IMAGE: image,
    QUAYCTL_HOOK_DIGEST: digest,
    QUAYCTL_HOOK_ENGINE: engine,
    QUAYCTL_HOOK_P2P: p2p.state,
    QUAYCTL_HOOK_SIZE: String(total.size),
    QUAYCTL_HOOK_FROM_PEERS: String(total.fromPeers),
    QUAYCTL_HOOK_FROM_REGISTRY: String(total.fromRegistry),
    QUAYCTL_HOOK_FROM_STORE: String(total.fromStore),
    QUAYCTL_HOOK_ALREADY_IN_ENGINE: String(total.alreadyInEngine),
    QUAYCTL_HOOK_SECONDS: String(total.seconds),
  };
}

/** `--hook`, where there is one. What goes wrong with it is a warning. @throws the signal's reason */
export async function tellHook(
  program: string | undefined,
  receipt: Receipt,
  { listener }: Pick<Talk, 'listener'>,
  session: Pick<Session, 'env' | 'signal'>,
): Promise<void> {
  if (program === undefined) return;
  const failure = await runHook(program, receipt, session);
  session.signal.throwIfAborted();
  if (failure !== undefined) listener({ kind: 'warning', message: failure });
}

/**
 * Runs `--hook PROGRAM` for an image that is where it was to go: without a shell and without arguments, what it prints on
 * stderr, since stdout is data. It sees the user's environment, and of the pull what `hookVariables` says.
 * @param timeLimitMs after which it is ended
 * @returns what went wrong with it, for a warning: the image is there nevertheless
 */
export function runHook(
  program: string,
  receipt: Receipt,
  { env, signal }: Pick<Session, 'env' | 'signal'>,
  timeLimitMs = HOOK_MS,
): Promise<string | undefined> {
  // A name without a slash is looked up in PATH, as a shell does.
  const path = program.includes('/') ? resolve(program) : program;
  // A hook that pulls has not this hook.
  const { QUAYCTL_HOOK: _, ...others } = env;
  const child = spawn(path, [], { env: { ...others, ...hookVariables(receipt) }, stdio: ['ignore', 2, 2] });
  let isLate = false;
  let killer: NodeJS.Timeout | undefined;
  const end = (): void => {
    child.kill('SIGTERM');
    killer ??= setTimeout(() => child.kill('SIGKILL'), KILL_MS);
  };
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, timeLimitMs);
  signal.addEventListener('abort', end, { once: true });
  return new Promise((done) => {
    const finish = (failure: string | undefined): void => {
      clearTimeout(timer);
      clearTimeout(killer);
      signal.removeEventListener('abort', end);
      done(failure === undefined ? undefined : `the hook ${program} ${failure}; the image is there`);
    };
    child.once('error', (error: NodeJS.ErrnoException) =>
      finish(`cannot be started (${error.code ?? error.message})`),
    );
    child.once('exit', (code, name) => {
      if (isLate) finish(`was ended after ${formatDuration(timeLimitMs)}`);
      else if (code !== 0) finish(code === null ? `was ended by ${name}` : `ended with ${code}`);
      else finish(undefined);
    });
  });
}
