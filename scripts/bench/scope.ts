import type { Scope } from '../../test/helpers/processes.ts';

/** For scripts, what a TestContext is for a test: everything opened is closed again, also after Ctrl-C. */
export interface ClosableScope extends Scope {
  end(): Promise<void>;
}

export function openScope(): ClosableScope {
  const ends: (() => void | Promise<void>)[] = [];
  let ended: Promise<void> | undefined;
  const endAll = async (): Promise<void> => {
    for (const end of ends.reverse()) await end();
  };
  const scope: ClosableScope = {
    after: (end) => void ends.push(end),
    end: () => (ended ??= endAll()),
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void scope.end().finally(() => process.exit(1)));
  }
  return scope;
}
