import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../../test/helpers/processes.ts';
import { ROOT } from './places.ts';

/** What is published, beside package.json. */
const FILES = ['bin', 'dist', 'scripts/deploy', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'LICENSE'];
/** Of the checkout's package.json that concerns whoever installs. */
const FIELDS = ['name', 'description', 'keywords', 'license', 'type', 'bin', 'engines'];

interface Manifest {
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/**
 * Packs what `scripts/build` made. npm installs nothing else with it: keytar, which may have to be compiled, is an
 * optional peer that `quayctl login` finds where somebody installed it.
 * @param work an empty folder
 * @param folder where the archive is put
 * @returns path of the archive
 */
export async function makeNpmPackage(version: string, work: string, folder: string): Promise<string> {
  const stage = join(work, 'package');
  await mkdir(join(stage, 'dist'), { recursive: true });
  for (const name of FILES.filter((file) => file !== 'dist'))
    await cp(join(ROOT, name), join(stage, name), { recursive: true });
  for (const name of ['cli', 'openpgp.cjs', 'LICENSES.txt', 'sbom.cdx.json'])
    await cp(join(ROOT, 'dist', name), join(stage, 'dist', name), { recursive: true });
  const whole = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  const peers = Object.keys(whole.optionalDependencies);
  const manifest = {
    ...Object.fromEntries(FIELDS.map((field) => [field, whole[field]])),
    version,
    files: FILES,
    peerDependencies: Object.fromEntries(peers.map((name) => [name, `^${whole.optionalDependencies[name]}`])),
    peerDependenciesMeta: Object.fromEntries(peers.map((name) => [name, { optional: true }])),
  };
  await writeFile(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await mkdir(folder, { recursive: true });
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder];
  await mustRun('npm', args, { cwd: stage });
  return join(folder, `quayctl-${version}.tgz`);
}
