import { readFileSync } from 'node:fs';
import { arch, platform } from 'node:os';

/** What a build was made of. Empty strings where it is not known, in a checkout for instance. */
interface BuildFacts {
  readonly version: string;
  /** The git commit, 40 hexadecimal digits. */
  readonly commit: string;
}

/** Put in by scripts/build.ts; a checkout has none. */
declare const QUAYCTL_BUILD: BuildFacts | undefined;

/** Node's names of processors where Go, and so every container tool, has others. */
export const GO_NAMES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** As `quayctl version` prints it. */
export function version(): string {
  return build().version;
}

/** As `quayctl version --json` prints it: which build this is, for reports and inventories. */
export function describeBuild(): Readonly<Record<string, string>> {
  const { version: number, commit } = build();
  const os = platform() === 'win32' ? 'windows' : platform();
  const machine = `${os}/${GO_NAMES[arch()] ?? arch()}`;
  return {
    version: number,
    ...(commit === '' ? {} : { commit }),
    platform: machine,
    node: process.versions.node,
  };
}

function build(): BuildFacts {
  if (typeof QUAYCTL_BUILD !== 'undefined') return QUAYCTL_BUILD;
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return { version: (JSON.parse(text) as { version: string }).version, commit: '' };
}
