import { after, before, test, type TestContext } from 'node:test';
import type { Scope } from '../helpers/processes.ts';
import { Examined, type EngineUnderTest } from './engine-under-test.ts';
import { everyEngine } from './every-engine.suite.ts';
import { loads } from './loads.suite.ts';
import { wrongLayers } from './wrong-layers.suite.ts';

/** What holds for every engine of OCI and Docker images. */
export function engineSuite(
  label: string,
  skip: string | false,
  start: (scope: Scope) => Promise<EngineUnderTest>,
): void {
  let engine: Examined;
  const ends: (() => void | Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  before(
    async () => {
      if (skip === false) engine = new Examined(await start({ after: (end) => void ends.push(end) }));
    },
    { timeout: 120_000 },
  );
  const holds = (name: string, body: (engine: Examined, t: TestContext) => Promise<void>): void => {
    test(`${label}: ${name}`, { skip, timeout: 120_000 }, (t) => body(engine, t));
  };
  everyEngine(holds);
  loads(holds);
  wrongLayers(holds);
}
