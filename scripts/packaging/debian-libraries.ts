import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../../test/helpers/processes.ts';

/** What Node links, the texts of its licenses, and whom to trust. */
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6', 'gcc-12-base', 'ca-certificates'];
/** Of these packages: the linker and the libraries, copyrights, certificates. */
const WANTED =
  /^(?:(?:usr\/)?lib(?:64)?\/(?:[^/]*-linux-gnu\/)?[^/]*\.so[^/]*|usr\/share\/doc\/[^/]+\/copyright|usr\/share\/ca-certificates\/mozilla\/[^/]+\.crt)$/;

/** A Debian package whose files are taken. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
}

/** Files of Debian packages, unpacked. */
export interface Libraries {
  readonly root: string;
  /** Relative to the root, sorted; symbolic links among them. */
  readonly files: readonly string[];
  readonly packages: readonly DebianPackage[];
}

/**
 * Fetches the shared libraries of an architecture, with apt's settings of this machine and lists of its own.
 * @param architecture in Debian's words, which are Go's
 * @param work an empty folder
 */
export async function fetchLibraries(architecture: string, work: string): Promise<Libraries> {
  const folders = ['state/lists/partial', 'cache/archives/partial', 'packages', 'root'];
  for (const folder of folders) await mkdir(join(work, folder), { recursive: true });
  await writeFile(join(work, 'status'), '');
  const settings = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Dir::State': join(work, 'state'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await mustRun('apt-get', [...options, '-qq', 'update']);
  const archives = join(work, 'packages');
  await mustRun('apt-get', [...options, '-qq', 'download', ...PACKAGES], { cwd: archives });
  const root = join(work, 'root');
  const packages: DebianPackage[] = [];
  for (const archive of (await readdir(archives)).toSorted()) {
    const path = join(archives, archive);
    await mustRun('dpkg-deb', ['--extract', path, root]);
    const told = await mustRun('dpkg-deb', ['--show', '--showformat', '${Package} ${Version}', path]);
    const [name = '', version = ''] = told.split(' ');
    packages.push({ name, version });
  }
  const all = await readdir(root, { recursive: true, withFileTypes: true });
  const files = all
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length + 1))
    .filter((path) => WANTED.test(path))
    .toSorted();
  return { root, files, packages };
}

/** All certificates in one file, as OpenSSL and `quayctl` read them. */
export async function certificateBundle({ root, files }: Libraries): Promise<string> {
  const certificates = files.filter((path) => path.endsWith('.crt'));
  const texts = await Promise.all(certificates.map((path) => readFile(join(root, path), 'utf8')));
  return texts.join('');
}
