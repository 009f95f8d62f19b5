import type { Change } from './apply.ts';
import type { HostFacts } from './host-facts.ts';
import type { SettingsDisk } from './settings-disk.ts';
import type { SettingsRecord } from './settings-record.ts';

export const ENGINE_NAMES = ['containerd', 'docker', 'podman', 'crio', 'k3s'] as const;
export type MirroredEngine = (typeof ENGINE_NAMES)[number];

/** What the settings are to say. */
export interface SettingsRequest {
  /** As references name them: `quay.io`, `docker.io`, `localhost:5000`. */
  readonly registries: readonly string[];
  /** `127.0.0.1:7071` */
  readonly host: string;
  /** Of the mirror, PEM; undefined where its port is plain HTTP. */
  readonly certificate: string | undefined;
  /** In a header of those hosts.toml that root alone reads; secret. Undefined where the port is plain HTTP. */
  readonly secret: string | undefined;
  /** `--edit-containerd-config`, which goes with `--restart`. */
  readonly editsContainerdConfig: boolean;
}

/** What one engine needs. */
export interface EnginePlan {
  readonly changes: readonly Change[];
  /** What the user may want to know. */
  readonly notes: readonly string[];
  /** Why the engine does not ask the mirror yet, and what the user can do. */
  readonly missing: readonly string[];
  /** What has to be told to read its settings again. */
  readonly reload?: 'dockerd' | 'containerd' | undefined;
}

export interface Planning {
  readonly request: SettingsRequest;
  readonly disk: SettingsDisk;
  readonly facts: HostFacts;
  /** What is installed already: the plan is made for a machine without it. */
  readonly record: SettingsRecord;
}

/** Where engines find the mirror's certificate. */
export const CERTIFICATE_PATH = '/etc/quayctl/mirror.crt';
/** By which the mirror knows who reads root's settings. */
export const SECRET_HEADER = 'X-Quayctl-Mirror';
