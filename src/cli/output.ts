import { QuayctlError } from '../base/errors.ts';
import { printable } from './printable.ts';

/** stdout and stderr of this run. What they cannot take ends it, with one error. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Waits until everything is out. @returns why it is not */
  readonly flushed: () => Promise<QuayctlError | undefined>;
}

/** @param onFailure stdout takes nothing more: what is left to do would be done for nobody */
export function openOutput(onFailure: (failure: QuayctlError) => void): Output {
  let failure: QuayctlError | undefined;
  /** Writes come to their end in order. */
  let last: Promise<void> = Promise.resolve();
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader of ours that went away (`quayctl ... | head`) is no error.
    if (error.code === 'EPIPE' || failure !== undefined) return;
    failure = outputFailure(error);
    onFailure(failure);
  });
  // Of a full disk under the talk nobody can be told; the work goes on.
  process.stderr.on('error', () => undefined);
  return {
    // The one place where text leaves the program, bars excepted, whose lines come from reporter.ts.
    out: (text) => {
      last = new Promise((resolve) => process.stdout.write(printable(text), () => resolve()));
    },
    err: (text) => void process.stderr.write(printable(text)),
    flushed: async () => {
      await last;
      // The error of a write is told in the next turn of the loop.
      await new Promise((resolve) => setImmediate(resolve));
      return failure;
    },
  };
}

function outputFailure(error: NodeJS.ErrnoException): QuayctlError {
  const isFull = error.code === 'ENOSPC' || error.code === 'EDQUOT';
  const why = isFull ? 'no space is left' : (error.code ?? error.message);
  return new QuayctlError(isFull ? 'disk-full' : 'output', `cannot write to stdout: ${why}`);
}
