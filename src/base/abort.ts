/**
 * A promise that also ends when a signal does. Use it around work that takes no signal, or that notices an abort late
 * (undici hears of one only once it is connected). The work itself goes on, and its late failure is not reported.
 * @throws what the work throws, or the signal's reason
 */
export async function orAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
