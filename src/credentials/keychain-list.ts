import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeAtomically } from '../base/atomic-file.ts';
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
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const text = `${JSON.stringify({ registries }, null, 2)}\n`;
      await writeAtomically(this.#path, Buffer.from(text), { mode: 0o600 });
    } catch (cause) {
      throw new QuayctlError('credentials', `cannot write ${this.#path}`, { cause });
    }
  }
}
