import { CommanderError } from 'commander';
import { QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { exitCodeOf } from './exit-codes.ts';
import type { Terminal } from './session.ts';

/** A cause chain longer than this tells nothing more. */
const MAX_CAUSES = 5;

/** What the user is told of an error; the only place where that text is made. */
export interface Failure {
  readonly code: string;
  readonly exitCode: number;
  /** One line. */
  readonly message: string;
  /** The messages of the causes, outermost first, without those that only repeat. */
  readonly causes: readonly string[];
  readonly hint?: string;
  readonly stack?: string;
}

/** @param signalCode the exit code of the signal that ended the run, if one did */
export function failureOf(error: unknown, signalCode: number | undefined): Failure {
  if (signalCode !== undefined) {
    return { code: 'interrupted', exitCode: signalCode, message: 'interrupted', causes: [] };
  }
  if (error instanceof CommanderError) {
    return { code: 'usage', exitCode: 2, message: error.message.replace(/^error: /, ''), causes: [] };
  }
  const known = error instanceof QuayctlError ? error : undefined;
  const code = known?.code ?? 'internal';
  const stack = error instanceof Error ? error.stack : undefined;
  const message = oneLine(error);
  return {
    code,
    exitCode: exitCodeOf(code),
    message: known === undefined ? `internal error: ${message}` : message,
    causes: causesOf(error, message),
    ...(known?.hint === undefined ? {} : { hint: redact(known.hint) }),
    ...(stack === undefined ? {} : { stack: redact(stack) }),
  };
}

/** What failed, why, and what to do, on stderr. */
export function printFailure({ message, causes, hint }: Failure, { err }: Pick<Terminal, 'err'>): void {
  err(`quayctl: ${message}\n`);
  for (const cause of causes) err(`  caused by: ${cause}\n`);
  if (hint !== undefined) err(`hint: ${hint}\n`);
}

function causesOf(error: unknown, message: string): string[] {
  const told = [message];
  let at = error instanceof Error ? error.cause : undefined;
  for (let depth = 0; at !== undefined && at !== null && depth < MAX_CAUSES; depth++) {
    const text = oneLine(at);
    if (text !== '' && !told.some((said) => said.includes(text))) told.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return told.slice(1);
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return redact(text).replace(/\s+/g, ' ').trim();
}
