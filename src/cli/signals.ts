import { constants } from 'node:os';
import { QuayctlError } from '../base/errors.ts';

/** One signal through all rooms. */
export interface Interruption {
  readonly signal: AbortSignal;
  /** 130 or 143 once SIGINT or SIGTERM has come. */
  readonly exitCode: () => number | undefined;
  /** Ends the run as a signal does, for another reason. */
  readonly end: (reason: QuayctlError) => void;
  readonly dispose: () => void;
}

/** The first Ctrl-C stops cleanly (peers are told, partial data stays); a second one does not wait for it. */
export function listenForSignals(): Interruption {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const onSignal = (name: 'SIGINT' | 'SIGTERM'): void => {
    const code = 128 + constants.signals[name];
    if (exitCode !== undefined) process.exit(exitCode);
    exitCode = code;
    controller.abort(new QuayctlError('interrupted', `interrupted by ${name}`));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    end: (reason) => controller.abort(reason),
    dispose: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
