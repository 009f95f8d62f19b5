import { after } from 'node:test';
import type { Scope } from './processes.ts';

/**
 * For what a whole suite shares, opened in its `before`; call it in the body of `describe`. (An `after` that is called
 * inside `before` runs as soon as that hook is over.)
 */
export function suiteScope(): Scope {
  const ends: (() => void | Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.toReversed()) await end();
  });
  return { after: (end) => void ends.push(end) };
}
