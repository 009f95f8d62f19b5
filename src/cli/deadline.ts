import { QuayctlError } from '../base/errors.ts';
import { formatDuration } from '../base/units.ts';

/** `--timeout`, for one image. */
export interface Deadline {
  /** Fires with a QuayctlError `timeout` when the time is over; never without a limit. */
  readonly signal: AbortSignal;
  /** The image is there: nothing ends it any more. Idempotent. */
  readonly met: () => void;
  /** What failed is told as what it is: the end of the time. @throws QuayctlError `timeout`, else what the work threw */
  readonly explain: (error: unknown) => never;
}

/** @param ms undefined: no limit */
export function startDeadline(ms: number | undefined, image: string): Deadline {
  const controller = new AbortController();
  const timer =
    ms === undefined
      ? undefined
      : setTimeout(() => {
          const message = `${image} was not there after ${formatDuration(ms)}`;
          const hint = 'what has arrived is kept for the next run; --timeout sets the limit';
          controller.abort(new QuayctlError('timeout', message, { hint }));
        }, ms);
  return {
    signal: controller.signal,
    met: () => clearTimeout(timer),
    explain: (error) => {
      throw controller.signal.aborted ? controller.signal.reason : error;
    },
  };
}
