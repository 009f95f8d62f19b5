import { QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { isRecord } from './bounded-file.ts';
import { guarded, type Credential, type CredentialStore } from './credential.ts';
import { KeychainList } from './keychain-list.ts';
import { askProgram, type Environment } from './program.ts';

/** Under this name the entries appear in the user's keychain. */
const SERVICE = 'quayctl';
/** The longest wait for the keychain during a pull, which must not hang at a desktop session that has no user. */
const FIND_LIMIT_MS = 2_000;
/** The longest wait for the keychain in `login` and `logout`, whose user may have to unlock it. */
const CHANGE_LIMIT_MS = 60_000;

/**
 * The only code that knows keytar. It is a process of its own because a call of keytar cannot be cancelled: one that
 * waits for D-Bus would hold our process beyond its end, this one is killed. A string because the bundle has no second
 * program. Requests and answers go through the standard streams: arguments are visible to every user of the machine.
 */
const KEYTAR_PROGRAM = `
const { readFileSync, writeSync } = require('node:fs');
const { module, verb, values } = JSON.parse(readFileSync(0, 'utf8'));
const answer = (json) => writeSync(1, JSON.stringify(json));
const reason = (error) => String(error && error.message).split('\\n', 1)[0].slice(0, 300);
let keytar;
try {
  keytar = require('node:module').createRequire(module)('keytar');
} catch (error) {
  answer({ missing: reason(error) });
}
if (keytar) keytar[verb](...values).then((value) => answer({ value: value ?? null }), (error) => answer({ refused: reason(error) }));
`;

const ELSEWHERE =
  'without a keychain use `docker login`, or a credential helper (credHelpers in ~/.docker/config.json): quayctl reads both';

/** keytar is no part of the package: it is compiled where there is no ready-made binary. */
const INSTALL = '`npm install -g keytar` installs it beside quayctl; ';

export interface KeychainOptions {
  /** The list of registries that `login` noted; made with mode 0600. */
  readonly listPath: string;
  /** The program that runs keytar: the running Node; undefined where quayctl is one file and no other program is here. */
  readonly nodePath: string | undefined;
  /** DBUS_SESSION_BUS_ADDRESS and the like. */
  readonly env: Environment;
  /** Where keytar is looked for: the URL of a module beside whose packages it lies. */
  readonly keytarBeside?: string;
  readonly findLimitMs?: number;
}

type Verb = 'getPassword' | 'setPassword' | 'deletePassword';

/** The operating system's keychain: libsecret's Secret Service, macOS's Keychain, Windows' Credential Vault. */
export class Keychain implements CredentialStore {
  readonly name = 'the keychain';
  readonly #list: KeychainList;
  readonly #options: KeychainOptions;

  constructor(options: KeychainOptions) {
    this.#options = options;
    this.#list = new KeychainList(options.listPath);
  }

  /** Asks the keychain only for what `login` put there, for at most 2 s. */
  async find(registry: string, _: string | undefined, signal: AbortSignal): Promise<Credential | undefined> {
    signal.throwIfAborted();
    if (!(await this.#list.has(registry))) return undefined;
    const limit = this.#options.findLimitMs ?? FIND_LIMIT_MS;
    const secret = await this.#ask('getPassword', [SERVICE, registry], limit, signal);
    return typeof secret === 'string' ? parseSecret(registry, secret) : undefined;
  }

  /** @throws QuayctlError `credentials` with what to do, where no keychain can be used here */
  async check(signal: AbortSignal): Promise<void> {
    await this.#ask('getPassword', [SERVICE, 'is there a keychain?'], CHANGE_LIMIT_MS, signal);
  }

  /** Replaces what was kept for this registry. @throws QuayctlError `credentials` with what to do */
  async keep(registry: string, username: string, password: string, signal: AbortSignal): Promise<void> {
    const secret = JSON.stringify({ username, password });
    await this.#ask('setPassword', [SERVICE, registry, secret], CHANGE_LIMIT_MS, signal);
    await this.#list.add(registry);
  }

  /** @returns whether there was one. @throws QuayctlError `credentials` with what to do */
  async remove(registry: string, signal: AbortSignal): Promise<boolean> {
    if (!(await this.#list.has(registry))) return false;
    const removed = await this.#ask('deletePassword', [SERVICE, registry], CHANGE_LIMIT_MS, signal);
    await this.#list.delete(registry);
    return removed === true;
  }

  async #ask(
    verb: Verb,
    values: readonly string[],
    timeLimitMs: number,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { nodePath, env, keytarBeside: module = import.meta.url } = this.#options;
    if (nodePath === undefined)
      throw unusable('this quayctl is one file, which cannot use the keychain; the npm package can');
    const call = {
      name: this.name,
      path: nodePath,
      args: ['-e', KEYTAR_PROGRAM],
      input: JSON.stringify({ module, verb, values }),
      // Nobody's --require belongs into a process that handles passwords only.
      env: { ...env, NODE_OPTIONS: undefined },
      timeLimitMs,
    };
    const { stdout } = await askProgram(call, signal).catch((error: unknown) => {
      throw error instanceof QuayctlError ? unusable(error.message, error.cause) : error;
    });
    const answer = parseAnswer(stdout);
    const { missing, refused } = answer;
    if (typeof missing === 'string')
      throw unusable(`the keychain needs keytar, which does not load here: ${missing}`, undefined, INSTALL);
    if (typeof refused === 'string') throw unusable(`the keychain refuses: ${redact(refused)}`);
    if (!('value' in answer)) throw unusable('the keychain gave no answer');
    return answer['value'];
  }
}

function unusable(message: string, cause?: unknown, first = ''): QuayctlError {
  return new QuayctlError('credentials', message, { hint: first + ELSEWHERE, cause });
}

function parseAnswer(text: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(text);
    return isRecord(json) ? json : {};
  } catch {
    return {};
  }
}

function parseSecret(registry: string, secret: string): Credential {
  const { username, password } = parseAnswer(secret);
  if (typeof username !== 'string' || typeof password !== 'string') {
    throw new QuayctlError('credentials', `the keychain's entry for ${registry} is not one of quayctl's`, {
      hint: `\`quayctl login ${registry}\` replaces it`,
    });
  }
  return guarded({ kind: 'basic', username, password });
}
