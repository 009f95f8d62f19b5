import { QuayctlError } from '../base/errors.ts';
import { formatPlatform, type Platform } from './platform.ts';

/** appc spec, "os, arch": what rkt takes for Linux, and Go's words for the same. */
const ARCHITECTURES: readonly (readonly [arch: string, platform: Omit<Platform, 'os'>])[] = [
  ['amd64', { architecture: 'amd64' }],
  ['i386', { architecture: '386' }],
  ['aarch64', { architecture: 'arm64' }],
  ['armv6l', { architecture: 'arm', variant: 'v6' }],
  ['armv7l', { architecture: 'arm', variant: 'v7' }],
  ['ppc64', { architecture: 'ppc64' }],
  ['ppc64le', { architecture: 'ppc64le' }],
  ['s390x', { architecture: 's390x' }],
];

/** What rkt takes as `arch` in the name of an image: its list for names lacks ppc64 and s390x, which manifests may have. */
export const APPC_ARCHITECTURES: readonly string[] = [
  'amd64',
  'i386',
  'aarch64',
  'aarch64_be',
  'armv6l',
  'armv7l',
  'armv7b',
  'ppc64le',
];

export function isAppcArchitecture(arch: string): boolean {
  return APPC_ARCHITECTURES.includes(arch);
}

/** appc's word for what Docker, or the machine itself, calls the same; undefined for none. */
export function appcArchitectureFor(word: string): string | undefined {
  const others: Readonly<Record<string, string>> = {
    x86_64: 'amd64',
    'x86-64': 'amd64',
    i686: 'i386',
    armhf: 'armv7l',
  };
  const [architecture = '', variant] = word.toLowerCase().split('/');
  const candidates = ARCHITECTURES.filter(([, known]) => known.architecture === architecture);
  const [found] = candidates.find(([, known]) => known.variant === variant) ?? candidates.at(-1) ?? [];
  return found ?? others[word.toLowerCase()];
}

/** The labels `os` and `arch` of an ACI. */
export interface AppcPlatform {
  readonly os: string;
  readonly arch: string;
}

/** @throws QuayctlError `unsupported` where appc has no word for it */
export function appcPlatform(platform: Platform): AppcPlatform {
  const { os, architecture, variant } = platform;
  const candidates = ARCHITECTURES.filter(([, known]) => known.architecture === architecture);
  // Variants that appc does not tell apart (arm/v5, amd64/v3) go by the first word for their architecture.
  const [arch] = candidates.find(([, known]) => known.variant === variant) ?? candidates[0] ?? [];
  if (os === 'linux' && arch !== undefined) return { os, arch };
  throw new QuayctlError('unsupported', `rkt runs no images for ${formatPlatform(platform)}`);
}

/** The platform of an index that labels ask for; undefined for what rkt refuses. */
export function platformOfAppc({ os, arch }: AppcPlatform): Platform | undefined {
  const platform = ARCHITECTURES.find(([name]) => name === arch)?.[1];
  return os === 'linux' && platform !== undefined ? { os, ...platform } : undefined;
}
