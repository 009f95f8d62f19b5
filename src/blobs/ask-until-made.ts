import { delay } from '../base/retry.ts';
import type { TorrentAnswer } from '../registry/repository.ts';

type HashingAnswer = TorrentAnswer & { readonly kind: 'hashing' };

/**
 * Asks a torrent service again until it has made what was asked for. Whether or not the service holds its answers
 * (`?wait=`), it is not asked more often than its Retry-After says.
 * @param onHashing told of each answer that is not final; returns milliseconds after which to stop asking
 * @param first an answer that is known already, to a question that did not wait
 * @returns the final answer, or the last one where `onHashing` ended it
 * @throws what `ask` throws, the signal's reason
 */
export async function askUntilMade(
  ask: () => Promise<TorrentAnswer>,
  signal: AbortSignal,
  onHashing: (answer: HashingAnswer) => number | void = () => undefined,
  first?: TorrentAnswer,
): Promise<TorrentAnswer> {
  let known = first;
  for (;;) {
    const askedAt = performance.now();
    const answer = known ?? (await ask());
    if (answer.kind !== 'hashing') return answer;
    const mostMs = onHashing(answer) ?? Infinity;
    if (mostMs <= 0) return answer;
    const pause = known === undefined ? askedAt + answer.retryAfterSeconds * 1000 - performance.now() : 0;
    await delay(Math.max(0, Math.min(pause, mostMs)), signal);
    known = undefined;
  }
}
