import { QuayctlError } from '../../base/errors.ts';
import { normalizePlatform, type Platform } from '../../image/platform.ts';
import type { DockerClient } from './client.ts';

/**
 * How the daemon keeps images: `graph` in Docker's own layer store, `containerd` in containerd's, `podman` is
 * podman's Docker-compatible service. They take different archives.
 */
export type StoreKind = 'graph' | 'containerd' | 'podman';

export interface EngineFacts {
  readonly platform: Platform;
  readonly store: StoreKind;
  /** Docker reads zstd layers from 23.0 on. */
  readonly zstd: boolean;
}

/** A daemon that hangs must not hang us. Milliseconds; a busy one has been seen to take seconds. */
const CONTACT_MS = 30_000;

/** First contact: both questions at once. */
export async function askFacts(client: DockerClient, signal: AbortSignal): Promise<EngineFacts> {
  const late = AbortSignal.timeout(CONTACT_MS);
  const either = AbortSignal.any([signal, late]);
  try {
    const [version, info] = await Promise.all([client.version(either), client.info(either)]);
    return { platform: platformOf(version, info), store: storeOf(version, info), zstd: readsZstd(version) };
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    throw new QuayctlError('engine', `Docker does not answer within ${CONTACT_MS / 1000} s`, {
      cause: error,
      hint: 'is it hanging? sudo systemctl restart docker',
    });
  }
}

function platformOf(version: Record<string, unknown>, info: Record<string, unknown>): Platform {
  const { Os: os, Arch: architecture } = version;
  // `arm` alone would be the newest one; only /info tells the machine: armv6l, armv7l.
  const machine = typeof info['Architecture'] === 'string' ? info['Architecture'] : '';
  const variant = architecture === 'arm' ? /^arm(v[5-7])/.exec(machine)?.[1] : undefined;
  if (typeof os === 'string' && os !== '' && typeof architecture === 'string' && architecture !== '') {
    return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
  }
  throw new QuayctlError('engine', 'what answers there is not Docker: it does not tell its platform', {
    hint: 'check DOCKER_HOST',
  });
}

function storeOf(version: Record<string, unknown>, info: Record<string, unknown>): StoreKind {
  const components = Array.isArray(version['Components']) ? version['Components'] : [];
  if (components.some((it: unknown) => (it as { Name?: unknown } | null)?.Name === 'Podman Engine'))
    return 'podman';
  const status = Array.isArray(info['DriverStatus']) ? info['DriverStatus'] : [];
  return status.some((pair: unknown) => Array.isArray(pair) && pair[1] === 'io.containerd.snapshotter.v1')
    ? 'containerd'
    : 'graph';
}

function readsZstd(version: Record<string, unknown>): boolean {
  const major = /^(\d+)\./.exec(typeof version['Version'] === 'string' ? version['Version'] : '')?.[1];
  return major !== undefined && Number(major) >= 23;
}
