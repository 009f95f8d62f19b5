import { mkdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeAtomically } from '../base/atomic-file.ts';
import { QuayctlError } from '../base/errors.ts';
import { parseAuthFile } from './auth-file.ts';
import { isRecord, parseCredentialFile, readCredentialFile } from './bounded-file.ts';
import { changeInHelper } from './credential-helper.ts';
import { KeychainList } from './keychain-list.ts';
import type { Environment } from './program.ts';
import { helperServer } from './registry-name.ts';

export interface DockerLoginOptions {
  /** Docker's config.json. */
  readonly path: string;
  /** The list of registries whose credentials were put there by us; made with mode 0600. */
  readonly listPath: string;
  readonly env: Environment;
  /** Of this process. */
  readonly uid: number;
}

/**
 * Keeps passwords where `docker login` keeps them, for machines without a keychain: by the credential helper that Docker's
 * config.json names, else in that file itself, as base64 and for this user alone.
 */
export class DockerLogin {
  readonly #options: DockerLoginOptions;
  readonly #list: KeychainList;

  constructor(options: DockerLoginOptions) {
    this.#options = options;
    this.#list = new KeychainList(options.listPath);
  }

  /** Where a password for the registry would go, for people. @throws QuayctlError `credentials` */
  async place(registry: string): Promise<string> {
    const helper = await this.#helperFor(registry);
    return helper === undefined
      ? `${this.#options.path}, as base64: whoever reads that file has it`
      : `docker-credential-${helper}, as ${this.#options.path} says`;
  }

  /** @throws QuayctlError `credentials` */
  async keep(registry: string, username: string, password: string, signal: AbortSignal): Promise<void> {
    const helper = await this.#helperFor(registry);
    const server = helperServer(registry);
    if (helper === undefined) {
      const auth = Buffer.from(`${username}:${password}`).toString('base64');
      await this.#change((auths) => ({ ...auths, [server]: { auth } }));
    } else {
      const secret = JSON.stringify({ ServerURL: server, Username: username, Secret: password });
      await changeInHelper(helper, 'store', secret, this.#options.env, signal);
    }
    await this.#list.add(registry);
  }

  /** Removes what `keep` put there, and nothing of anybody else's. @returns whether there was something */
  async remove(registry: string, signal: AbortSignal): Promise<boolean> {
    if (!(await this.#list.has(registry))) return false;
    const helper = await this.#helperFor(registry);
    const server = helperServer(registry);
    if (helper === undefined)
      await this.#change((auths) =>
        Object.fromEntries(Object.entries(auths).filter(([key]) => key !== server)),
      );
    else await changeInHelper(helper, 'erase', server, this.#options.env, signal);
    await this.#list.delete(registry);
    return true;
  }

  /** docker/cli `getConfiguredCredentialStore`. */
  async #helperFor(registry: string): Promise<string | undefined> {
    const { path } = this.#options;
    const text = await readCredentialFile(path);
    if (text === undefined) return undefined;
    const { helpers, store } = parseAuthFile(path, text);
    const helper = helpers.get(helperServer(registry)) ?? helpers.get(registry) ?? store ?? '';
    return helper === '' ? undefined : helper;
  }

  /** Everything else in the file stays as it is, its owner too. */
  async #change(
    change: (auths: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { path, uid } = this.#options;
    const text = await readCredentialFile(path);
    const content = text === undefined ? {} : parseCredentialFile(path, text);
    const { auths } = content;
    const changed = { ...content, auths: change(isRecord(auths) ? auths : {}) };
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      // A link may lead to where the file really is.
      const target = await realpath(path).catch(() => path);
      const known = await stat(target).catch(() => undefined);
      await writeAtomically(target, Buffer.from(`${JSON.stringify(changed, null, '\t')}\n`), {
        mode: 0o600,
        durable: true,
        prepare: async (draft) => {
          if (known !== undefined && uid === 0) await draft.chown(known.uid, known.gid);
        },
      });
    } catch (cause) {
      throw new QuayctlError('credentials', `cannot write ${path}`, { cause });
    }
  }
}
