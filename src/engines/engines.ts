import { docker } from './docker/docker.ts';
import type { EngineEntry } from './engine-entry.ts';
import { podman } from './podman/podman.ts';
import { rkt } from './rkt/rkt.ts';

/** Every engine that quayctl knows, in the order of `--help`. A new engine is a folder of its own and a line here. */
export const ENGINES: readonly EngineEntry[] = [docker, podman, rkt];
