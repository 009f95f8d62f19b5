import { SQUASHED } from '../docker-api/options.ts';
import type { OciEngineEntry } from '../engine-entry.ts';

export const podman: OciEngineEntry = {
  name: 'podman',
  title: 'podman',
  imageKind: 'oci',
  options: [SQUASHED],
  open: async ({ env }) => (await import('./podman-engine.ts')).openPodman(env),
};
