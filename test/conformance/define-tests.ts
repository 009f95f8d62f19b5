import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Case } from './case.ts';
import { checkCase } from './pull-case.ts';
import { STILL_WRONG } from './still-wrong.ts';

/** Cases wait for servers and for each other's processes most of the time, so some run at once. */
const AT_ONCE = 4;

/** One test for each case. @param skip as node:test has it */
export function defineTests(subject: string, cases: readonly Case[], skip: string | false = false): void {
  describe(subject, { concurrency: AT_ONCE, skip }, () => {
    for (const each of cases) {
      const name = `${each.row}: ${each.name}`;
      if (!STILL_WRONG.has(name)) {
        test(name, (t) => checkCase(t, each));
        continue;
      }
      test(`${name} (still wrong)`, async (t) => {
        await assert.rejects(checkCase(t, each), 'this is right now: take it out of still-wrong.ts');
      });
    }
  });
}
