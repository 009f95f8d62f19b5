import { readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RELEASE } from '../../scripts/packaging/places.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';

/** The version that scripts/release built last, from the names of its files. */
export function releasedVersion(): string {
  const [, version] = names().flatMap((name) => /^quayctl-(.*)-linux-amd64$/.exec(name) ?? []);
  if (version === undefined) throw new Error(`${RELEASE} holds no release: scripts/release makes one`);
  return version;
}

/** Path of a file of the release, by its name with `VERSION` in it. */
export function artefact(name: string): string {
  const file = name.replace('VERSION', releasedVersion());
  if (!names().includes(file)) throw new Error(`the release has no ${file}`);
  return join(RELEASE, file);
}

/** Names of all files of the release, sorted. */
export function names(): readonly string[] {
  return readdirSync(RELEASE).toSorted();
}

/** The image as an OCI layout in a directory. */
export async function imageLayout(scope: Scope): Promise<string> {
  // A tag without a repository is one of the repository that is named like the folder.
  const layout = join(await tempDirectory(scope, 'image'), 'quayctl');
  await mkdir(layout);
  await mustRun('tar', ['-C', layout, '-xf', artefact('quayctl-VERSION-oci.tar')]);
  return layout;
}
