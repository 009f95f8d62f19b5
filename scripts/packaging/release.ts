import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { engineProgram } from '../../test/helpers/programs.ts';
import { mustRun } from '../../test/helpers/processes.ts';
import { fetchLibraries, type Libraries } from './debian-libraries.ts';
import { makeImage } from './image.ts';
import { allLicenses } from './licenses.ts';
import { makeLinuxPackages, type Staged } from './linux-packages.ts';
import { unpackNode } from './node-package.ts';
import { makeNpmPackage } from './npm-package.ts';
import { RELEASE, ROOT } from './places.ts';
import { releaseVersion } from './release-version.ts';
import { makeSingleFile } from './single-file.ts';
import { fileNameOf, LINUX_TARGETS, TARGETS } from './targets.ts';

const MEGABYTE = 1e6;
const SHELLS = ['bash', 'zsh', 'fish'] as const;

const facts = await releaseVersion(ROOT);
const { version } = facts;
const begun = performance.now();
const say = (text: string): void => {
  process.stdout.write(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);
};
const work = await mkdtemp(join(tmpdir(), 'quayctl-release-'));
try {
  await makeAll();
} finally {
  await rm(work, { recursive: true, force: true });
}

async function makeAll(): Promise<void> {
  say(`quayctl ${version}, commit ${facts.commit === '' ? 'unknown' : facts.commit}`);
  await rm(RELEASE, { recursive: true, force: true });
  await mustRun(process.execPath, [join(ROOT, 'scripts/build.ts')]);
  await mkdir(RELEASE, { recursive: true });

  await makeNpmPackage(version, join(work, 'npm'), RELEASE);
  say('npm package');

  const libraries = new Map<string, Libraries>();
  for (const { architecture } of LINUX_TARGETS)
    libraries.set(architecture, await fetchLibraries(architecture, join(work, `debian-${architecture}`)));
  say('libraries of Debian for the image');

  const programs = new Map<string, string>();
  for (const target of TARGETS) {
    const file = join(RELEASE, fileNameOf(target, version));
    const place = join(work, `${target.os}-${target.architecture}`);
    const root = libraries.get(target.architecture)?.root;
    await makeSingleFile(target, { work: place, libraries: root, file });
    if (target.os === 'linux') programs.set(target.architecture, file);
    // Hundreds of megabytes for each, and nobody asks for them again.
    await rm(place, { recursive: true, force: true });
    say(`${basename(file)}${target.tested ? '' : ' (built, not tested here)'}`);
  }

  const node = LINUX_TARGETS[0]?.node;
  if (node === undefined) throw new Error('there is no target for Linux');
  const nodeLicense = await unpackNode(node, join(work, 'node-license'), 'LICENSE');
  const licenses = await allLicenses(await readFile(nodeLicense, 'utf8'));
  await writeFile(join(RELEASE, 'LICENSES.txt'), licenses);

  const program = (architecture: string): string => {
    const found = programs.get(architecture);
    if (found === undefined) throw new Error(`there is no program for ${architecture}`);
    return found;
  };
  const shared = await stage();
  for (const architecture of ['amd64', 'arm64'] as const) {
    const staged = { ...shared, program: program(architecture), licenses };
    const made = await makeLinuxPackages(architecture, staged, facts, join(work, architecture), RELEASE);
    say(made.map((path) => basename(path)).join(', '));
  }

  const parts = [...libraries].map(([architecture, each]) => ({
    architecture,
    program: program(architecture),
    libraries: each,
  }));
  const archive = join(RELEASE, `quayctl-${version}-oci.tar`);
  const sizes = await makeImage(parts, facts, licenses, join(work, 'image'), archive);
  const told = sizes.map((size) => (size / MEGABYTE).toFixed(1)).join(' and ');
  say(`${basename(archive)}: ${told} MB compressed`);

  await makeChart();
  await writeInstaller();
  await writeSbom([...libraries.values()]);
  await writeSums();
  say(`SHA256SUMS over ${(await readdir(RELEASE)).length - 1} files`);
  for (const name of (await readdir(RELEASE)).toSorted()) {
    const { size } = await stat(join(RELEASE, name));
    process.stdout.write(`${(size / MEGABYTE).toFixed(1).padStart(8)} MB  ${name}\n`);
  }
}

/** What the Linux packages hold beside the program. */
async function stage(): Promise<Omit<Staged, 'program' | 'licenses'>> {
  const manPages = join(work, 'man');
  await mustRun(join(ROOT, 'scripts/man'), [manPages]);
  const completions = { bash: '', zsh: '', fish: '' };
  for (const shell of SHELLS)
    completions[shell] = await mustRun(process.execPath, [join(ROOT, 'bin/quayctl'), 'completion', shell]);
  return { manPages, completions };
}

/** Where there is one. */
async function makeChart(): Promise<void> {
  const chart = join(ROOT, 'scripts/deploy/chart');
  const isThere = await access(chart).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  const args = ['package', chart, '--version', version, '--app-version', version, '--destination', work];
  await mustRun(engineProgram('helm'), args);
  // Helm's own name for it is that of the npm package.
  await copyFile(join(work, `quayctl-${version}.tgz`), join(RELEASE, `quayctl-chart-${version}.tgz`));
  say('Helm chart');
}

async function writeInstaller(): Promise<void> {
  const text = await readFile(join(import.meta.dirname, 'install.sh'), 'utf8');
  const path = join(RELEASE, 'install.sh');
  await writeFile(path, text.replaceAll('@VERSION@', version));
  await chmod(path, 0o755);
}

/** The bundle's libraries, the Nodes inside the executables, and what the image takes from Debian. */
async function writeSbom(libraries: readonly Libraries[]): Promise<void> {
  const bundle = JSON.parse(await readFile(join(ROOT, 'dist/sbom.cdx.json'), 'utf8')) as {
    components: readonly object[];
  };
  const nodes = [...new Set(TARGETS.map(({ node }) => node.version))].map((each) => ({
    type: 'platform',
    'bom-ref': `pkg:github/nodejs/node@v${each}`,
    name: 'node',
    version: each,
    licenses: [{ license: { id: 'MIT' } }],
    purl: `pkg:github/nodejs/node@v${each}`,
  }));
  const packages = libraries.flatMap((each) => each.packages);
  const debian = [...new Map(packages.map((each) => [`${each.name}@${each.version}`, each])).values()].map(
    ({ name, version: at }) => ({
      type: 'library',
      'bom-ref': `pkg:deb/debian/${name}@${encodeURIComponent(at)}`,
      name,
      version: at,
      purl: `pkg:deb/debian/${name}@${encodeURIComponent(at)}`,
    }),
  );
  const document = { ...bundle, components: [...bundle.components, ...nodes, ...debian] };
  await writeFile(join(RELEASE, `quayctl-${version}.cdx.json`), `${JSON.stringify(document, null, 2)}\n`);
}

async function writeSums(): Promise<void> {
  const lines: string[] = [];
  for (const name of (await readdir(RELEASE)).toSorted()) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(RELEASE, name)), hash);
    lines.push(`${hash.digest('hex')}  ${name}\n`);
  }
  await writeFile(join(RELEASE, 'SHA256SUMS'), lines.join(''));
}
