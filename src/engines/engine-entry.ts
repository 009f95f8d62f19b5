import type { AciEngine, Engine, Environment } from './engine.ts';

/** An option that the commands of one engine have besides those that all of them share. */
export interface EngineOption {
  /** As commander declares it: `--insecure-options <list>`. */
  readonly flags: string;
  readonly help: string;
  readonly verbs: readonly ('pull' | 'seed')[];
}

/** What an engine is opened with. */
export interface EngineSettings {
  readonly env: Environment;
  /** The values of the entry's own options, by the name that commander gives them (`insecureOptions`). */
  readonly options: Readonly<Record<string, unknown>>;
}

interface EntryOf<ImageKind extends string, E> {
  /** Names the command (`quayctl NAME torrent pull`) and the engine in receipts. */
  readonly name: string;
  /** As prose names it. */
  readonly title: string;
  /** Which kind of image the engine runs; it decides how its images are named and found. */
  readonly imageKind: ImageKind;
  readonly options: readonly EngineOption[];
  /**
   * Opens the engine and loads its libraries. Nothing is asked of it yet: `platform` is the first contact.
   * @throws QuayctlError `engine` where its settings (DOCKER_HOST, a context) cannot be used; `usage` for an option
   */
  open(settings: EngineSettings): Promise<E>;
}

/** OCI and Docker images, named as in `quay.io/team/app:1`. */
export type OciEngineEntry = EntryOf<'oci', Engine>;
/** appc images, named as in `quay.io/team/app:1,os=linux`. */
export type AciEngineEntry = EntryOf<'appc', AciEngine>;
/** What the command line is made of: one of these for each engine, in a file that loads nothing heavy. */
export type EngineEntry = OciEngineEntry | AciEngineEntry;
