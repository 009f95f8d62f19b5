import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isRecord, parseCredentialFile, readCredentialFile } from './bounded-file.ts';
import { askHelper } from './credential-helper.ts';
import { guarded, type Credential } from './credential.ts';
import type { Environment } from './program.ts';
import { parseRegistryKey, type RegistryKey } from './registry-name.ts';

/** What docker's config.json and podman's auth.json have in common. */
export interface AuthFile {
  readonly path: string;
  /** Keys as they stand in the file. An entry is read when it is wanted: a broken one spoils no other. */
  readonly auths: ReadonlyMap<string, unknown>;
  /** Registry to NAME of docker-credential-NAME; the empty name means this file. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The helper for all other registries (docker's `credsStore`). */
  readonly store: string | undefined;
}

/** RFC 9110, 11.2: what may follow `Bearer `; anything else would be refused by the HTTP client, or worse, not. */
const BEARER = /^[\x21-\x7e]+$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** @throws QuayctlError `credentials` that names the file and never its content */
export async function readAuthFile(path: string): Promise<AuthFile | undefined> {
  const text = await readCredentialFile(path);
  return text === undefined ? undefined : parseAuthFile(path, text);
}

/** @throws QuayctlError `credentials` that names the file and never its content */
export function parseAuthFile(path: string, text: string): AuthFile {
  const { auths = {}, credHelpers = {}, credsStore } = parseCredentialFile(path, text);
  const helpers = entriesOf(path, 'credHelpers', credHelpers);
  const wrong = helpers.some(([, helper]) => typeof helper !== 'string');
  if (wrong || !(credsStore === undefined || credsStore === null || typeof credsStore === 'string')) {
    throw new QuayctlError('credentials', `${path}: the name of a credential helper is not a string`);
  }
  return {
    path,
    auths: new Map(entriesOf(path, 'auths', auths)),
    helpers: new Map(helpers as [string, string][]),
    store: typeof credsStore === 'string' && credsStore !== '' ? credsStore : undefined,
  };
}

/**
 * As docker/cli `getConfiguredCredentialStore`: the registry's own helper, else the store for all; after that `auths`,
 * which Docker leaves empty for registries that a helper keeps. A key with a path below the host, which docker and
 * podman do not know here, chooses the helper for that namespace; helpers keep hosts, so it is asked for the host.
 */
export async function findInHelpers(
  file: AuthFile,
  { registry, repository }: { readonly registry: string; readonly repository: string | undefined },
  env: Environment,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const keys = keysFor(file.helpers.keys(), registry);
  const own =
    within(keys, repository)[0] ?? keys.find(({ namespace, hasScheme }) => namespace === '' || hasScheme);
  const helper = (own === undefined ? undefined : file.helpers.get(own.key)) ?? file.store ?? '';
  return helper === '' ? undefined : askHelper(helper, registry, env, signal);
}

/**
 * The entry for a repository: the key of its longest namespace (`host/team/app`, then `host/team`), then that of the
 * host under its plain name, then those with scheme and version.
 * @param anyNamespace whether a key of another namespace on that host counts at last, as for Docker, which looks at the
 *   host of a key alone
 * @throws QuayctlError `credentials`
 */
export function findInAuths(
  file: AuthFile,
  registry: string,
  repository: string | undefined,
  { anyNamespace }: { readonly anyNamespace: boolean },
): Credential | undefined {
  const keys = keysFor(file.auths.keys(), registry);
  const inNamespace = within(keys, repository);
  const ofHost = keys.filter(({ namespace }) => namespace === '');
  const others = keys.filter(({ namespace, hasScheme }) => namespace !== '' && (hasScheme || anyNamespace));
  const ordered = [
    ...inNamespace.map(({ key }) => key),
    registry,
    ...[...ofHost, ...others].map(({ key }) => key),
  ];
  return firstOf(file, ordered);
}

type Key = RegistryKey & { readonly key: string };

function keysFor(keys: Iterable<string>, registry: string): Key[] {
  return [...keys].flatMap((key) => {
    const parsed = parseRegistryKey(key);
    return parsed?.registry === registry ? [{ key, ...parsed }] : [];
  });
}

/** Those of the repository's namespaces, the longest first. */
function within(keys: readonly Key[], repository = ''): Key[] {
  return keys
    .filter(({ namespace }) => namespace !== '' && `${repository}/`.startsWith(`${namespace}/`))
    .sort((a, b) => b.namespace.length - a.namespace.length);
}

/**
 * What a helper keeps, else what the file itself holds. A helper that is missing or fails (a config.json that was copied
 * from another machine) does not hide an entry of the file, as with docker, podman and skopeo.
 * @throws QuayctlError `credentials` where the helper fails and the file holds nothing either
 */
export async function findInHelpersOr(
  inHelpers: () => Promise<Credential | undefined>,
  inFile: () => Credential | undefined,
): Promise<Credential | undefined> {
  try {
    return (await inHelpers()) ?? inFile();
  } catch (error) {
    if (!isQuayctlError(error, 'credentials')) throw error;
    const found = inFile();
    if (found === undefined) throw error;
    return found;
  }
}

/** The first of these keys whose entry holds a credential. @throws QuayctlError `credentials` */
function firstOf(file: AuthFile, keys: readonly string[]): Credential | undefined {
  for (const key of keys) {
    const credential = file.auths.has(key) ? parseEntry(file.path, key, file.auths.get(key)) : undefined;
    if (credential !== undefined) return guarded(credential);
  }
  return undefined;
}

/** The Docker engine's order: `registrytoken` as it is, else `identitytoken`, else the password. */
function parseEntry(path: string, key: string, entry: unknown): Credential | undefined {
  const refuse = (what: string): QuayctlError =>
    new QuayctlError('credentials', `${path}: the entry ${JSON.stringify(key)} ${what}`);
  if (!isRecord(entry)) throw refuse('is not an object');
  const field = (name: string): string => {
    const value = entry[name] ?? '';
    if (typeof value !== 'string') throw refuse(`has a ${name} that is not a string`);
    return value;
  };
  const token = (name: string): string => {
    const value = field(name);
    if (value !== '' && !BEARER.test(value)) throw refuse(`has a ${name} that is not a valid token`);
    return value;
  };

  const registryToken = token('registrytoken');
  if (registryToken !== '') return { kind: 'registry-token', token: registryToken };
  const pair = field('auth') === '' ? undefined : decodeAuth(field('auth'));
  if (field('auth') !== '' && pair === undefined)
    throw refuse('has an auth that is not base64 of USER:PASSWORD');
  const { username, password } = pair ?? { username: field('username'), password: field('password') };
  const identityToken = token('identitytoken');
  if (identityToken !== '') {
    return { kind: 'identity-token', token: identityToken, ...(username === '' ? {} : { username }) };
  }
  // `docker login` with a helper leaves empty entries as marks.
  return username === '' ? undefined : { kind: 'basic', username, password };
}

/** docker/cli `decodeAuth`: base64 of `user:password`; only the first colon divides, NULs at the end are padding. */
function decodeAuth(auth: string): { username: string; password: string } | undefined {
  const compact = auth.replace(/\s+/g, '');
  if (!BASE64.test(compact)) return undefined;
  const text = Buffer.from(compact, 'base64').toString('utf8').replace(/\0+$/, '');
  const at = text.indexOf(':');
  return at < 1 ? undefined : { username: text.slice(0, at), password: text.slice(at + 1) };
}

function entriesOf(path: string, name: string, value: unknown): [string, unknown][] {
  if (value === null) return [];
  if (!isRecord(value)) throw new QuayctlError('credentials', `${path}: ${name} is not an object`);
  return Object.entries(value);
}
