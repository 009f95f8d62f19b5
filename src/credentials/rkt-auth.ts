import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { isRecord, parseCredentialFile, readCredentialFile } from './bounded-file.ts';
import { foundIn, guarded, type Credential, type CredentialStore } from './credential.ts';
import { askProgram, findProgram, type Environment } from './program.ts';
import { canonicalRegistry } from './registry-name.ts';

/** rkt's own order: what the administrator wrote wins over what the system came with. */
export const RKT_DIRECTORIES: readonly string[] = ['/usr/lib/rkt', '/etc/rkt'];

const TIME_LIMIT_MS = 10_000;
/** One file for each registry, at most some dozen. */
const MAX_FILES = 1000;

/**
 * rkt's configuration, kinds `auth` and `dockerAuth` of version v1: asked from rkt itself, or where there is no rkt
 * program read from `auth.d` in its directories. As with rkt, one bad file fails the whole store.
 */
export class RktAuth implements CredentialStore {
  readonly name = 'the rkt configuration (auth.d)';
  readonly #directories: readonly string[];
  readonly #env: Environment;

  constructor(directories: readonly string[], env: Environment) {
    this.#directories = directories;
    this.#env = env;
  }

  async find(registry: string, _: string | undefined, signal: AbortSignal): Promise<Credential | undefined> {
    signal.throwIfAborted();
    return credentialFor(await this.#entries(signal), registry);
  }

  /**
   * What rkt would show a server of ACIs; `dockerAuth` is for other servers.
   * @param host of the URL, with the port where that names one: rkt matches it exactly
   * @throws QuayctlError `credentials`, also for the kind `aws`, which signs requests to S3
   */
  async findForAci(host: string, signal: AbortSignal): Promise<Credential | undefined> {
    const entries = await this.#entries(signal);
    const entry = entries.findLast(({ rktKind, domains }) => rktKind === 'auth' && includes(domains, host));
    if (entry?.['type'] === 'aws') {
      throw new QuayctlError('credentials', `rkt's credentials for ${host} are of the type aws`, {
        hint: 'quayctl takes basic and oauth; `rkt fetch` signs requests to S3 itself',
      });
    }
    const credential = entry === undefined ? undefined : credentialOf(entry);
    return credential === undefined ? undefined : foundIn(credential, { name: this.name, isFirst: true });
  }

  async #entries(signal: AbortSignal): Promise<Entry[]> {
    const rkt = await findProgram('rkt', this.#env);
    return rkt === undefined ? this.#files() : askRkt(rkt, this.#env, signal);
  }

  async #files(): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (const directory of this.#directories) {
      const here: Entry[] = [];
      for (const path of await authFiles(directory)) {
        const text = await readCredentialFile(path);
        if (text !== undefined) here.push(parseRktFile(path, text));
      }
      refuseTwice(here, directory);
      entries.push(...here);
    }
    return entries;
  }
}

type Entry = Readonly<Record<string, unknown>>;

async function askRkt(path: string, env: Environment, signal: AbortSignal): Promise<Entry[]> {
  const name = 'rkt config';
  const args = ['config', '--pretty-print=false'];
  const answer = await askProgram({ name, path, args, input: '', env, timeLimitMs: TIME_LIMIT_MS }, signal);
  // What it says then may quote its files.
  if (answer.exitCode !== 0)
    throw new QuayctlError('credentials', `${name} fails`, { hint: 'run `rkt config`' });
  const { stage0 } = parseCredentialFile(name, answer.stdout);
  if (!Array.isArray(stage0) || !stage0.every(isRecord)) {
    throw new QuayctlError('credentials', `${name} prints something else than a configuration`);
  }
  return stage0;
}

/** Only regular files that end in .json count; rkt ignores symbolic links and subdirectories. */
async function authFiles(directory: string): Promise<string[]> {
  const folder = join(directory, 'auth.d');
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
      .map(({ name }) => name);
    if (names.length > MAX_FILES) {
      throw new QuayctlError('credentials', `${folder} holds more than ${MAX_FILES} files`);
    }
    return names.toSorted().map((name) => join(folder, name));
  } catch (error) {
    if (error instanceof QuayctlError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw new QuayctlError('credentials', `cannot read ${folder}`, { cause: error });
  }
}

/**
 * One file of `auth.d`, as strict as rkt: what it refuses, it would refuse at the `rkt fetch` that follows.
 * @throws QuayctlError `credentials` that names the file and never its content
 */
export function parseRktFile(path: string, text: string): Entry {
  const entry = parseCredentialFile(path, text);
  const { rktKind, rktVersion } = entry;
  if ((rktKind !== 'auth' && rktKind !== 'dockerAuth') || rktVersion !== 'v1') {
    throw new QuayctlError('credentials', `${path} is not an rkt auth configuration of version v1`);
  }
  const names = namesOf(entry);
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === 'string')) {
    const field = rktKind === 'auth' ? 'domains' : 'registries';
    throw new QuayctlError('credentials', `${path} names no ${field}`);
  }
  credentialOf(entry);
  return entry;
}

/** rkt: `auth for domain "..." is already specified`, within one directory; a later directory wins. */
function refuseTwice(entries: readonly Entry[], directory: string): void {
  const seen = new Set<string>();
  for (const entry of entries) {
    for (const name of namesOf(entry) as readonly string[]) {
      const key = `${String(entry['rktKind'])} ${name}`;
      if (seen.has(key)) {
        throw new QuayctlError('credentials', `${join(directory, 'auth.d')} names ${name} twice`);
      }
      seen.add(key);
    }
  }
}

function includes(names: unknown, name: string): boolean {
  return Array.isArray(names) && names.includes(name);
}

function namesOf({ rktKind, registries, domains }: Entry): unknown {
  return rktKind === 'dockerAuth' ? registries : domains;
}

/** `dockerAuth` is meant for what speaks Docker's protocol, as we do. Later entries win. @throws QuayctlError `credentials` */
export function credentialFor(entries: readonly Entry[], registry: string): Credential | undefined {
  const mine = entries.filter((entry) => registriesOf(entry).includes(registry));
  const entry =
    mine.findLast(({ rktKind }) => rktKind === 'dockerAuth') ??
    mine.findLast(({ rktKind }) => rktKind === 'auth');
  return entry === undefined ? undefined : credentialOf(entry);
}

function registriesOf(entry: Entry): (string | undefined)[] {
  const names = namesOf(entry);
  if (!Array.isArray(names)) return [];
  return names.map((name) => (typeof name === 'string' ? canonicalRegistry(name) : undefined));
}

function credentialOf({ rktKind, type, credentials }: Entry): Credential | undefined {
  const { user, password, token } = isRecord(credentials) ? credentials : {};
  if (rktKind === 'dockerAuth' || type === 'basic') {
    if (typeof user === 'string' && user !== '' && typeof password === 'string' && password !== '') {
      return guarded({ kind: 'basic', username: user, password });
    }
  } else if (type === 'oauth') {
    if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token))
      return guarded({ kind: 'registry-token', token });
  } else if (type === 'aws') {
    // Signs requests to S3; no registry takes it.
    return undefined;
  }
  throw new QuayctlError('credentials', 'the rkt configuration has an entry without usable credentials');
}
