import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import type { Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';

export interface TestStore {
  readonly directory: string;
  readonly store: Store;
}

/** A new store, closed and removed with the test. */
export async function newStore(scope: Scope): Promise<TestStore> {
  const directory = await tempDirectory(scope, 'store');
  return { directory, store: await storeIn(scope, directory) };
}

/** One more opening of a store: what another process would see. */
export async function storeIn(scope: Scope, directory: string): Promise<Store> {
  const store = await openStore(directory);
  scope.after(() => store.close());
  return store;
}
