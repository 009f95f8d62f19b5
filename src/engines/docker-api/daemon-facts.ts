import { QuayctlError } from '../../base/errors.ts';
import { normalizePlatform, type Platform } from '../../image/platform.ts';
import type { DockerClient } from './client.ts';

/** What the daemon tells of itself. */
export interface DaemonFacts {
  readonly platform: Platform;
  /** As in 1.41. */
  readonly apiVersion: ApiVersion;
  /** The engine's own, as in 29.7.2; only for messages. */
  readonly version: string;
  /** Podman's service answers in place of Docker. */
  readonly isPodman: boolean;
  /** Images lie in containerd, not in a graph driver of Docker's own. */
  readonly usesContainerd: boolean;
  /** As it calls where images lie: `overlay2`; only for messages. */
  readonly driver: string;
  /** No image is there, so none of its layers needs to be looked for. */
  readonly isEmpty: boolean;
}

/** `major.minor` of the Docker Engine API. It tells engines apart also where they are built without a version. */
export interface ApiVersion {
  readonly major: number;
  readonly minor: number;
}

/** The longest wait for a daemon's first answer. Busy daemons have been seen to take seconds. */
const CONTACT_MS = 30_000;

/** First contact: both questions at once. @throws QuayctlError `engine`; what the client throws */
export async function askDaemon(
  client: DockerClient,
  title: string,
  signal: AbortSignal,
): Promise<DaemonFacts> {
  const late = AbortSignal.timeout(CONTACT_MS);
  const either = AbortSignal.any([signal, late]);
  try {
    const [version, info] = await Promise.all([client.version(either), client.info(either)]);
    return {
      platform: platformOf(version, info, title),
      apiVersion: parseApiVersion(version['ApiVersion']),
      version: typeof version['Version'] === 'string' ? version['Version'] : 'unknown',
      isPodman: isPodman(version),
      usesContainerd: usesContainerd(info),
      driver: typeof info['Driver'] === 'string' ? info['Driver'] : 'unknown',
      isEmpty: info['Images'] === 0,
    };
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    throw new QuayctlError('engine', `${title} did not answer within ${CONTACT_MS / 1000} s`, {
      cause: error,
      hint: 'is it hanging? restart it and pull again',
    });
  }
}

/** Whether the API is at least that version. */
export function isAtLeast(version: ApiVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** An answer without one is treated as the oldest. */
function parseApiVersion(text: unknown): ApiVersion {
  const [, major, minor] = /^(\d{1,3})\.(\d{1,4})$/.exec(typeof text === 'string' ? text : '') ?? [];
  return { major: Number(major ?? 0), minor: Number(minor ?? 0) };
}

function platformOf(
  version: Record<string, unknown>,
  info: Record<string, unknown>,
  title: string,
): Platform {
  const { Os: os, Arch: architecture } = version;
  // `arm` alone would be the newest one; only /info tells the machine: armv6l, armv7l.
  const machine = typeof info['Architecture'] === 'string' ? info['Architecture'] : '';
  const variant = architecture === 'arm' ? /^arm(v[5-7])/.exec(machine)?.[1] : undefined;
  if (typeof os === 'string' && os !== '' && typeof architecture === 'string' && architecture !== '') {
    return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
  }
  throw new QuayctlError(
    'engine',
    `the service that answered is not ${title}: it does not tell its platform`,
    {
      hint: 'check the address',
    },
  );
}

function isPodman(version: Record<string, unknown>): boolean {
  const components = Array.isArray(version['Components']) ? version['Components'] : [];
  return components.some((it: unknown) => (it as { Name?: unknown } | null)?.Name === 'Podman Engine');
}

function usesContainerd(info: Record<string, unknown>): boolean {
  const status = Array.isArray(info['DriverStatus']) ? info['DriverStatus'] : [];
  return status.some((pair: unknown) => Array.isArray(pair) && pair[1] === 'io.containerd.snapshotter.v1');
}
