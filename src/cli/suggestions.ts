import { CommanderError } from 'commander';
import type { Failure } from './failure.ts';

/** What people type first, who come from docker, podman, skopeo, crane; and what it is here. */
const MEANT: Readonly<Record<string, string>> = {
  fetch: 'quayctl pull IMAGE',
  get: 'quayctl pull IMAGE',
  download: 'quayctl pull IMAGE',
  copy: 'quayctl torrent pull IMAGE --output DIR',
  save: 'quayctl torrent pull IMAGE --output FILE.tar',
  images: 'quayctl store ls',
  image: 'quayctl store ls',
  ls: 'quayctl store ls',
  list: 'quayctl store ls',
  rm: 'quayctl store rm IMAGE',
  rmi: 'quayctl store rm IMAGE',
  gc: 'quayctl store gc',
  prune: 'quayctl store gc',
  clean: 'quayctl store gc',
  share: 'quayctl seed',
  upload: 'quayctl seed',
  server: 'quayctl serve --upstream URL',
  scan: 'quayctl security IMAGE',
  settings: 'quayctl config',
  info: 'quayctl config',
  status: 'quayctl store ls',
};
/** What stands after an engine's name. */
const UNDER_ENGINE = new Set(['pull', 'seed']);

/** A usage error about a word that is no command gets the command that was probably meant. */
export function withSuggestion(failure: Failure, error: unknown, argv: readonly string[]): Failure {
  if (!(error instanceof CommanderError) || error.code !== 'commander.unknownCommand') return failure;
  const words = argv.filter((word) => !word.startsWith('-'));
  const [first = '', second = '', ...rest] = words;
  if (UNDER_ENGINE.has(second)) {
    const meant = ['quayctl', first, 'torrent', second, ...rest].join(' ');
    return { ...failure, hint: `${meant}, or in short: ${['quayctl', second, ...rest].join(' ')}` };
  }
  const meant = MEANT[first];
  return meant === undefined ? failure : { ...failure, hint: `that is \`${meant}\` here` };
}
