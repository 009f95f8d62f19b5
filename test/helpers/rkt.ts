import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, type Output, type Scope } from './processes.ts';
import { tempDirectory } from './temp.ts';

/** A stand-in for rkt, of which no package exists: its behaviour is what was observed of a real rkt 1.30. */
export interface TestRkt {
  /** Holds a program called rkt: the first directory of PATH. */
  readonly folder: string;
  /** rkt's --local-config: auth.d and trustedkeys. */
  readonly config: string;
  readonly env: Readonly<Record<string, string>>;
  run(...args: readonly string[]): Promise<Output>;
  /** @param prefix of image names; by default every image */
  trust(keyFile: string, prefix?: string): Promise<void>;
  /** rkt's own words: an image ID for each name. */
  images(): Promise<ReadonlyMap<string, string>>;
}

const STAND_IN = join(import.meta.dirname, '../fixtures/rkt/rkt');

/**
 * An rkt with a store, a configuration and trusted keys of its own.
 * @param launcher a command that takes another one behind it; what `run` runs is started by it
 */
export async function makeRkt(
  scope: Scope,
  env: Readonly<Record<string, string>> = {},
  launcher: readonly string[] = [],
): Promise<TestRkt> {
  const root = await tempDirectory(scope, 'rkt');
  const [folder, config, store] = ['bin', 'config', 'store'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const directory of [folder, config]) await mkdir(directory);
  const program = join(folder, 'rkt');
  const flags = `--dir=${store} --local-config=${config} --system-config=${root}/none`;
  await writeFile(program, `#!/bin/sh\nexec "${STAND_IN}" ${flags} "$@"\n`);
  await chmod(program, 0o755);
  const all = { ...process.env, ...env };
  const path = `${folder}:${process.env['PATH'] ?? ''}`;
  const rkt = (...args: readonly string[]): Promise<Output> => {
    const [command = '', ...rest] = [...launcher, program, ...args];
    return run(command, rest, { env: all });
  };
  return {
    folder,
    config,
    env: { PATH: path, ...env },
    run: rkt,
    trust: async (keyFile, prefix) => {
      const scopeFlag = prefix === undefined ? '--root' : `--prefix=${prefix}`;
      const { code, stderr } = await rkt('trust', scopeFlag, '--skip-fingerprint-review', keyFile);
      if (code !== 0) throw new Error(stderr);
    },
    images: async () => {
      const { stdout } = await rkt('image', 'list', '--full', '--format=json');
      const images = (JSON.parse(stdout) ?? []) as readonly { readonly id: string; readonly name: string }[];
      return new Map(images.map(({ id, name }) => [name, id]));
    },
  };
}
