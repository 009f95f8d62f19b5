import { resolve } from 'node:path';
import { onDisk } from './disk.ts';
import { layOut } from './init-store.ts';
import { Leases } from './leases.ts';
import { LocalStore } from './local-store.ts';
import { thisProcess } from './owner.ts';
import { StorePaths } from './paths.ts';
import type { Store } from './store.ts';

/**
 * Opens the store, or makes it.
 * @throws QuayctlError `store` when it cannot be used: written by a future version, not readable, not writable
 */
export async function openStore(path: string): Promise<Store> {
  const paths = new StorePaths(resolve(path));
  await onDisk(`cannot use the store ${paths.root}`, () => layOut(paths));
  return new LocalStore(paths, new Leases(paths.own('leases'), paths.own('tmp'), await thisProcess()));
}
