import { join } from 'node:path';
import { mustRun } from './processes.ts';

const CONVERSE = join(import.meta.dirname, '../fixtures/terminal/converse.py');

export interface Conversation {
  /** Everything that the terminal showed. */
  readonly shown: string;
  /** Negative: the signal that ended it. */
  readonly exitCode: number;
  /** Whether the terminal shows keys again at the end. */
  readonly echo: boolean;
}

/**
 * Runs a program on a terminal of its own: waits for the text of each step, then presses its keys. Needs python3.
 */
export async function converse(
  command: readonly string[],
  steps: readonly (readonly [text: string, keys: string])[],
  env: NodeJS.ProcessEnv,
): Promise<Conversation> {
  const output = await mustRun('python3', [CONVERSE, JSON.stringify(steps), ...command], { env });
  return JSON.parse(output) as Conversation;
}
