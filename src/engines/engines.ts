import type { Engine } from './engine.ts';

/** What an engine needs of the outside; `env` is the caller's, because only `cli` reads process.env. */
export interface EngineSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** One file and one line for each engine. Loaded when asked for: their libraries are heavy. */
const ENGINES = {
  docker: async (around: EngineSurroundings) =>
    (await import('./docker/docker-engine.ts')).openDocker(around.env),
} satisfies Record<string, (around: EngineSurroundings) => Promise<Engine>>;

export type EngineName = keyof typeof ENGINES;

/**
 * Opens an engine. Nothing is asked of it yet: `platform` is the first contact.
 * @throws QuayctlError `engine` where the settings (DOCKER_HOST, a context) cannot be used
 */
export function openEngine(name: EngineName, around: EngineSurroundings): Promise<Engine> {
  return ENGINES[name](around);
}
