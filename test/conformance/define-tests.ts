import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { startDockerd } from '../helpers/dockerd.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import type { Case } from './case.ts';
import { checkCase } from './pull-case.ts';
import { STILL_WRONG } from './still-wrong.ts';

/** Cases wait for servers and for each other's processes most of the time, so some run at once. */
const AT_ONCE = 4;

/** One test for each case; those that go into Docker share an engine. */
export function defineTests(subject: string, cases: readonly Case[]): void {
  const intoDocker = cases.filter(({ into }) => into === 'docker');
  describe(subject, { concurrency: AT_ONCE }, () => {
    for (const each of cases) if (each.into === undefined) defineTest(each, () => undefined);
  });
  if (intoDocker.length === 0) return;
  const skip = skipWithout('root', 'dockerd', 'docker');
  describe(`${subject}, into Docker`, { concurrency: AT_ONCE, skip }, () => {
    const scope = suiteScope();
    let host: string | undefined;
    before(async () => {
      host = (await startDockerd(scope)).dockerHost;
    });
    for (const each of intoDocker) defineTest(each, () => host);
  });
}

function defineTest(each: Case, dockerHost: () => string | undefined): void {
  defineCheck(`${each.row}: ${each.name}`, (scope) => checkCase(scope, each, dockerHost()));
}

/**
 * One test, unless the list of what is still wrong has its name: then one that fails as soon as it is right.
 * @param name `ROW: what the registry does`
 */
export function defineCheck(
  name: string,
  check: (scope: Scope) => Promise<void>,
  skip: string | false = false,
): void {
  if (!STILL_WRONG.has(name)) {
    test(name, { skip }, (t) => check(t));
    return;
  }
  test(`${name} (still wrong)`, { skip }, async (t) => {
    await assert.rejects(check(t), 'this is right now: take it out of still-wrong.ts');
  });
}
