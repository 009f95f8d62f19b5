import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, type Scope } from '../../test/helpers/processes.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';

const CHECKOUT = join(import.meta.dirname, '../..');

/** What users run: the bundle without the sources beside it. @returns the program's path */
export async function installBundle(scope: Scope): Promise<string> {
  await mustRun(process.execPath, [join(CHECKOUT, 'scripts/build.ts')]);
  const directory = await tempDirectory(scope, 'bundle');
  for (const part of ['package.json', 'bin', 'dist']) {
    await cp(join(CHECKOUT, part), join(directory, part), { recursive: true });
  }
  return join(directory, 'bin/quayctl');
}
