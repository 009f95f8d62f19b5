import type { Engine } from './engine.ts';
import type { RktEngine } from './rkt/rkt-engine.ts';

/** What an engine needs of the outside; `env` is the caller's, because only `cli` reads process.env. */
export interface EngineSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** rkt's flag of that name, handed on as it is; only ever the user's own. */
  readonly insecureOptions?: string | undefined;
}

/** One file and one line for each engine. Loaded when asked for: their libraries are heavy. */
const ENGINES = {
  docker: async (around: EngineSurroundings) =>
    (await import('./docker/docker-engine.ts')).openDocker(around.env),
  rkt: async (around: EngineSurroundings) =>
    (await import('./rkt/rkt-engine.ts')).openRkt(around.env, around.insecureOptions),
} satisfies Record<string, (around: EngineSurroundings) => Promise<Engine | RktEngine>>;

type Engines = typeof ENGINES;
export type EngineName = keyof Engines;

/**
 * Opens an engine. Nothing is asked of it yet: `platform` is the first contact.
 * @throws QuayctlError `engine` where the settings (DOCKER_HOST, a context) cannot be used
 */
export function openEngine<Name extends EngineName>(
  name: Name,
  around: EngineSurroundings,
): ReturnType<Engines[Name]> {
  return ENGINES[name](around) as ReturnType<Engines[Name]>;
}
