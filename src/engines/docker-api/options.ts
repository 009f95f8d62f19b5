import type { EngineOption } from '../engine-entry.ts';

/** Options of the engines behind Docker's API. */
export const SQUASHED: EngineOption = {
  flags: '--squashed',
  help: 'the squashed image: one layer, made by the torrent service; tag TAG.squash',
  verbs: ['pull', 'seed'],
};
