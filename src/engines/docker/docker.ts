import { SQUASHED } from '../docker-api/options.ts';
import type { OciEngineEntry } from '../engine-entry.ts';

export const docker: OciEngineEntry = {
  name: 'docker',
  title: 'Docker',
  imageKind: 'oci',
  options: [
    SQUASHED,
    {
      flags: '--record-digest',
      help: 'ask Docker to record the repository digest after the load',
      verbs: ['pull'],
    },
  ],
  open: async ({ env }) => (await import('./docker-engine.ts')).openDocker(env),
};
