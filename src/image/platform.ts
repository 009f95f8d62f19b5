import { QuayctlError } from '../base/errors.ts';
import { isIndexType } from './media-types.ts';

/** An entry of an image index is chosen by this (OCI image-spec, image-index.md, `platform`). Go's names. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
}

/** The fields of a descriptor that decide. */
interface IndexEntry {
  readonly mediaType: string;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

const COMPONENT = /^[A-Za-z0-9_.-]{1,64}$/;
/** buildkit's mark, with the platform `unknown/unknown`, of entries that belong to an image but are not images. */
const REFERENCE_TYPE = 'vnd.docker.reference.type';
/** The manifest that an attestation is about. */
const REFERENCE_DIGEST = 'vnd.docker.reference.digest';
/** Platforms that an error lists at most. */
const MAX_LISTED = 20;

/**
 * Parses `OS/ARCH[/VARIANT]`, and takes the names that kernels use (`x86_64`) as well as Go's.
 * @throws QuayctlError `usage`
 */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...more] = text.split('/', 4);
  const parts = [os, architecture, variant].filter((part) => part !== undefined);
  if (
    os === undefined ||
    architecture === undefined ||
    more.length > 0 ||
    !parts.every((p) => COMPONENT.test(p))
  ) {
    throw new QuayctlError('usage', `not a platform: ${JSON.stringify(text.slice(0, 100))}`, {
      hint: 'write OS/ARCH or OS/ARCH/VARIANT: linux/amd64, linux/arm/v7',
    });
  }
  return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

/** One spelling for each platform, as containerd's `platforms.Normalize` has it: arm64 for aarch64 and arm64/v8. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const [architecture, variant] = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    (platform.variant ?? '').toLowerCase(),
  );
  return {
    os: os === 'macos' ? 'darwin' : os,
    architecture,
    ...(variant === '' ? {} : { variant }),
    ...(platform.osVersion === undefined ? {} : { osVersion: platform.osVersion }),
  };
}

/** `linux/arm/v7`; `windows(10.0.20348.1)/amd64`. */
export function formatPlatform({ os, architecture, variant, osVersion }: Platform): string {
  const version = osVersion === undefined ? '' : `(${osVersion})`;
  return `${os}${version}/${architecture}${variant === undefined ? '' : `/${variant}`}`;
}

/**
 * The entry of an index that runs best on `wanted`: the platform itself, then what it can run besides, in
 * containerd's order (arm/v7: v7, v6, v5; amd64/v3: v3, v2, v1, 386). An entry that names no platform, as a nested
 * index does, is taken only when none fits. Attestations are never taken.
 * @throws QuayctlError `not-found`, naming the platforms that are there
 */
export function choosePlatform<Entry extends IndexEntry>(entries: readonly Entry[], wanted: Platform): Entry {
  const images = entries.filter((entry) => !isAttestation(entry));
  for (const candidate of runsOn(normalizePlatform(wanted))) {
    const fitting = images.filter(({ platform }) => platform !== undefined && fits(platform, candidate));
    const best = newestWindows(fitting);
    if (best !== undefined) return best;
  }
  const unnamed = images.filter(({ platform }) => platform === undefined);
  const fallback = unnamed.find(({ mediaType }) => isIndexType(mediaType)) ?? unnamed[0];
  if (fallback !== undefined) return fallback;
  throw new QuayctlError(
    'not-found',
    `the image is not there for ${formatPlatform(wanted)}; ${listed(images)}`,
    {
      hint: 'choose another with --platform',
    },
  );
}

/** containerd `platforms.normalizeArch`. */
function normalizeArchitecture(architecture: string, variant: string): [string, string] {
  switch (architecture) {
    case 'i386':
    case '386':
      return ['386', ''];
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' ? '' : variant];
    case 'aarch64':
    case 'arm64':
      return ['arm64', /^v?8(?:\.0)?$/.test(variant) ? '' : /^v?9(?:\.0)?$/.test(variant) ? 'v9' : variant];
    case 'armhf':
      return ['arm', 'v7'];
    case 'armel':
      return ['arm', 'v6'];
    // What uname says on 32-bit ARM: armv6l, armv7l.
    case 'armv6l':
      return ['arm', 'v6'];
    case 'armv7l':
      return ['arm', 'v7'];
    case 'arm':
      return ['arm', variant === '' ? 'v7' : /^[5-8]$/.test(variant) ? `v${variant}` : variant];
    default:
      return [architecture, variant];
  }
}

/** containerd `platforms.platformVector`: what runs on a normalised platform, best first. */
function runsOn(platform: Platform): Platform[] {
  const { os, architecture, variant } = platform;
  const version = platform.osVersion === undefined ? {} : { osVersion: platform.osVersion };
  const named = (arch: string, name: string): Platform =>
    normalizePlatform({ os, architecture: arch, variant: name, ...version });
  switch (architecture) {
    case 'amd64':
      return [platform, ...below(variant, 1).map((name) => named('amd64', name)), named('386', '')];
    case 'arm':
      return [platform, ...below(variant, 5).map((name) => named('arm', name))];
    case 'arm64':
      return [
        platform,
        ...belowArm64(variant ?? 'v8').map((name) => named('arm64', name)),
        ...['v8', 'v7', 'v6', 'v5'].map((name) => named('arm', name)),
      ];
    default:
      return [platform];
  }
}

/** `v7` down to `lowest`, itself left out: v6, v5. */
function below(variant: string | undefined, lowest: number): string[] {
  const level = Number(/^v([0-9])$/.exec(variant ?? '')?.[1] ?? 0);
  return Array.from({ length: Math.max(0, level - lowest) }, (_, at) => `v${level - 1 - at}`);
}

/** ARM's v9.x can do what v8.(x+5) can; v8.x all that is below it. */
function belowArm64(variant: string): string[] {
  const match = /^v([89])(?:\.([0-9]))?$/.exec(variant);
  if (match === null) return [];
  const [major, minor] = [Number(match[1]), Number(match[2] ?? 0)];
  const down = (from: number, series: number): string[] =>
    Array.from({ length: from + 1 }, (_, at) => (from === at ? `v${series}` : `v${series}.${from - at}`));
  return major === 9 ? [...down(minor, 9).slice(1), ...down(minor + 5, 8)] : down(minor, 8).slice(1);
}

/** The entries of an index that are attestations of one of its manifests. */
export function attestationsOf<Entry extends IndexEntry>(
  entries: readonly Entry[],
  manifest: string,
): Entry[] {
  return entries.filter(
    ({ annotations }) =>
      annotations?.[REFERENCE_TYPE] === 'attestation-manifest' && annotations[REFERENCE_DIGEST] === manifest,
  );
}

function isAttestation({ annotations, platform }: IndexEntry): boolean {
  if (annotations?.[REFERENCE_TYPE] !== undefined) return true;
  return platform?.os === 'unknown' && platform.architecture === 'unknown';
}

function fits(entry: Platform, candidate: Platform): boolean {
  const { os, architecture, variant, osVersion } = normalizePlatform(entry);
  if (os !== candidate.os || architecture !== candidate.architecture || variant !== candidate.variant)
    return false;
  return os !== 'windows' || windowsFits(osVersion, candidate.osVersion);
}

/** Windows Server 2022: from this build on a newer host runs older containers; before it builds must be equal. */
const STABLE_WINDOWS_BUILD = 20348;

function windowsFits(container: string | undefined, host: string | undefined): boolean {
  if (container === undefined || host === undefined) return true;
  const [major, minor, build] = windowsVersion(container);
  const [hostMajor, hostMinor, hostBuild] = windowsVersion(host);
  if (major !== hostMajor || minor !== hostMinor) return false;
  return build === hostBuild || (build >= STABLE_WINDOWS_BUILD && build <= hostBuild);
}

function newestWindows<Entry extends IndexEntry>(fitting: readonly Entry[]): Entry | undefined {
  const build = ({ platform }: IndexEntry): number =>
    platform?.os === 'windows' ? windowsVersion(platform.osVersion ?? '')[2] : 0;
  return fitting.reduce<Entry | undefined>(
    (best, entry) => (best === undefined || build(entry) > build(best) ? entry : best),
    undefined,
  );
}

/** `10.0.20348.2113` -> [10, 0, 20348]; the revision does not matter. */
function windowsVersion(version: string): [number, number, number] {
  const [major = 0, minor = 0, build = 0] = version
    .split('.', 3)
    .map((part) => (/^[0-9]{1,9}$/.test(part) ? Number(part) : 0));
  return [major, minor, build];
}

function listed(images: readonly IndexEntry[]): string {
  const names = [
    ...new Set(images.flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]))),
  ];
  if (names.length === 0) return 'the index holds no image at all';
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
  return `there is ${names.slice(0, MAX_LISTED).join(', ')}${more}`;
}
