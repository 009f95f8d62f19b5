import type { ServerResponse } from 'node:http';

const waiting = new WeakMap<ServerResponse, (() => void)[]>();

/**
 * Runs the action once the answer is complete or its client has left; at once where that has been. Whoever counts
 * something while an answer lasts asks here: a pipe takes seven of the ten listeners that Node allows an event, so all of
 * ours share one.
 */
export function whenOver(response: ServerResponse, action: () => void): void {
  if (response.closed) return action();
  const actions = waiting.get(response);
  if (actions !== undefined) return void actions.push(action);
  const mine = [action];
  waiting.set(response, mine);
  response.once('close', () => {
    for (const each of mine) each();
  });
}
