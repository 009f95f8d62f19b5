import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { parseCredentialFile, readCredentialFile } from './bounded-file.ts';

/**
 * The registries whose credentials `login` put into the keychain. It holds no secret: it is there so that a node
 * without a desktop never asks a keychain in vain.
 */
export class KeychainList {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async has(registry: string): Promise<boolean> {
    return (await this.#read()).includes(registry);
  }

  /** @throws QuayctlError `credentials` */
  async add(registry: string): Promise<void> {
    const registries = await this.#read();
    if (!registries.includes(registry)) await this.#write([...registries, registry].toSorted());
  }

  /** @throws QuayctlError `credentials` */
  async delete(registry: string): Promise<void> {
    const registries = await this.#read();
    if (registries.includes(registry)) await this.#write(registries.filter((other) => other !== registry));
  }

  async #read(): Promise<string[]> {
    const text = await readCredentialFile(this.#path);
    if (text === undefined) return [];
    const { registries = [] } = parseCredentialFile(this.#path, text);
    if (!Array.isArray(registries) || !registries.every((registry) => typeof registry === 'string')) {
      throw new QuayctlError('credentials', `${this.#path} is not a list of registries`, {
        hint: 'remove it, then log in again',
      });
    }
    return registries;
  }

  async #write(registries: readonly string[]): Promise<void> {
    const temporary = `${this.#path}.${randomUUID()}`;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await writeFile(temporary, `${JSON.stringify({ registries }, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
      await rename(temporary, this.#path);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw new QuayctlError('credentials', `cannot write ${this.#path}`, { cause });
    }
  }
}
