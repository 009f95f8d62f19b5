import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { engineProgram } from '../../test/helpers/programs.ts';
import { mustRun } from '../../test/helpers/processes.ts';
import { ROOT } from './places.ts';
import type { ReleaseVersion } from './release-version.ts';

const HERE = join(import.meta.dirname, 'linux');
const UNITS = ['quayctl-seed', 'quayctl-serve', 'quayctl-mirror'];
/** Versions of the symbols that Node's program names (`objdump -T`): glibc 2.28, GCC 9. */
const DEPENDS = {
  deb: ['libc6 (>= 2.28)', 'libgcc-s1', 'libstdc++6 (>= 9)', 'passwd'],
  rpm: ['glibc >= 2.28', 'libgcc', 'libstdc++ >= 9', 'shadow-utils'],
} as const;
const SUGGESTS = ['ca-certificates'];
/** Where shells look for the completions of packages. */
const COMPLETIONS = {
  bash: '/usr/share/bash-completion/completions/quayctl',
  zsh: { deb: '/usr/share/zsh/vendor-completions/_quayctl', rpm: '/usr/share/zsh/site-functions/_quayctl' },
  fish: '/usr/share/fish/vendor_completions.d/quayctl.fish',
} as const;

/** What Debian's checker cannot know. */
const LINTIAN_OVERRIDES = `# Node.js carries its libraries with it, in versions of its own, and is stripped before the bundle is put inside
quayctl: embedded-library
quayctl: hardening-no-pie
`;

/** Debian has the texts of common licenses once for all packages. */
const COPYRIGHT = `quayctl is licensed under the Apache License, version 2.0: on Debian /usr/share/common-licenses/Apache-2.0.
Copyright (c) the quayctl authors.

The program holds Node.js and libraries of other authors. Their copyrights and licenses are in LICENSES.gz in this folder. One of
them, OpenPGP.js, is under the GNU Lesser General Public License, version 3: /usr/share/common-licenses/LGPL-3, a supplement
to the GNU General Public License, version 3: /usr/share/common-licenses/GPL-3.
`;

type Format = 'deb' | 'rpm';

interface Content {
  readonly src?: string;
  readonly dst: string;
  readonly type?: 'config|noreplace' | 'dir' | 'symlink';
  readonly file_info: { readonly mode: number; readonly mtime: string; readonly group?: string };
}

export interface Staged {
  /** The single executable. */
  readonly program: string;
  /** A folder of man pages. */
  readonly manPages: string;
  readonly completions: Readonly<Record<'bash' | 'zsh' | 'fish', string>>;
  readonly licenses: string;
}

/**
 * Makes a .deb and an .rpm: program, units, man pages, completions, users, configuration. No service is started.
 * @param architecture in Go's words
 * @param work an empty folder
 * @returns the files' paths in `folder`
 */
export async function makeLinuxPackages(
  architecture: 'amd64' | 'arm64',
  staged: Staged,
  facts: ReleaseVersion,
  work: string,
  folder: string,
): Promise<readonly string[]> {
  const made: string[] = [];
  for (const format of ['deb', 'rpm'] as const) {
    const place = join(work, format);
    await mkdir(place, { recursive: true });
    const config = await describe(format, architecture, staged, facts, place);
    const file = join(place, 'nfpm.json');
    await writeFile(file, JSON.stringify(config, null, 2));
    const target = join(folder, `quayctl_${facts.version}_${architecture}.${format}`);
    const args = ['package', '--config', file, '--packager', format, '--target', target];
    const env = { ...process.env, SOURCE_DATE_EPOCH: String(facts.epoch) };
    await mustRun(engineProgram('nfpm'), args, { env });
    made.push(target);
  }
  return made;
}

async function describe(
  format: Format,
  architecture: string,
  staged: Staged,
  facts: ReleaseVersion,
  work: string,
): Promise<object> {
  const mtime = new Date(facts.epoch * 1000).toISOString();
  const contents: Content[] = [];
  const put = async (dst: string, text: string | Uint8Array, more: Partial<Content> = {}): Promise<void> => {
    const src = join(work, `${contents.length}`);
    await writeFile(src, text);
    contents.push({ src, dst, file_info: { mode: 0o644, mtime }, ...more });
  };
  // Policy of Debian: man pages and changelogs are compressed, without a time in their header.
  const zipped = (text: string | Uint8Array): Uint8Array => gzipSync(text, { level: 9 });

  contents.push({ src: staged.program, dst: '/usr/bin/quayctl', file_info: { mode: 0o755, mtime } });
  for (const unit of UNITS) {
    const text = await readFile(join(ROOT, 'scripts/deploy', `${unit}.service`), 'utf8');
    await put(
      `/usr/lib/systemd/system/${unit}.service`,
      text.replaceAll('/usr/bin/env quayctl', '/usr/bin/quayctl'),
    );
  }
  for (const page of (await readdir(staged.manPages)).toSorted())
    await put(`/usr/share/man/man1/${page}.gz`, zipped(await readFile(join(staged.manPages, page))));
  await put(COMPLETIONS.bash, staged.completions.bash);
  await put(COMPLETIONS.zsh[format], staged.completions.zsh);
  await put(COMPLETIONS.fish, staged.completions.fish);
  const config = { type: 'config|noreplace' } as const;
  await put('/etc/quayctl/config.yaml', await readFile(join(HERE, 'config.yaml')), config);
  await put('/etc/quayctl/serve.env', await readFile(join(HERE, 'serve.env')), {
    ...config,
    file_info: { mode: 0o640, mtime },
  });
  const changes = await readFile(join(ROOT, 'CHANGELOG.md'));
  await put('/usr/share/doc/quayctl/copyright', COPYRIGHT);
  await put('/usr/share/doc/quayctl/LICENSES.gz', zipped(staged.licenses));
  await put('/usr/share/doc/quayctl/changelog.gz', zipped(changes));
  if (format === 'deb') {
    await put('/usr/share/doc/quayctl/changelog.Debian.gz', zipped(debianChanges(facts)));
    await put('/usr/share/lintian/overrides/quayctl', LINTIAN_OVERRIDES);
  }
  return {
    name: 'quayctl',
    arch: architecture,
    platform: 'linux',
    version: facts.version,
    version_schema: 'semver',
    release: '1',
    mtime,
    section: 'net',
    priority: 'optional',
    maintainer: 'The quayctl authors <quayctl@example.org>',
    description:
      'pull container images over BitTorrent\n' +
      'Machines that pull the same image give each other its pieces, and the registry\n' +
      'is asked for each byte about once, however many machines there are. Every blob\n' +
      'is checked against its digest before it is used. Engines: Docker, podman,\n' +
      'containerd and rkt.',
    license: 'Apache-2.0',
    depends: DEPENDS[format],
    recommends: SUGGESTS,
    contents,
    scripts: {
      preinstall: join(HERE, 'preinstall.sh'),
      postinstall: join(HERE, 'postinstall.sh'),
      preremove: join(HERE, 'preremove.sh'),
      postremove: join(HERE, 'postremove.sh'),
    },
    rpm: { group: 'Applications/Internet', buildhost: 'localhost', compression: 'gzip:6' },
    // xz would make it a third smaller, in a minute for each; dpkg of Debian 11 knows no zstd.
    deb: { compression: 'gzip' },
  };
}

/** In the form that dpkg reads: one entry, this build. */
function debianChanges({ version, epoch }: ReleaseVersion): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  const debian = `${version.replace('-', '~')}-1`;
  return `quayctl (${debian}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- The quayctl authors <quayctl@example.org>  ${date}\n`;
}
