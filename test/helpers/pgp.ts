import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, run, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { tempDirectory } from './temp.ts';

/** Whose signatures are on a test's images. */
export interface TestSigner {
  /** Armored public key, in a file and as text. */
  readonly keyFile: string;
  readonly key: string;
  /** Detached and armored, unless the flags say otherwise. */
  sign(bytes: Uint8Array, ...flags: readonly string[]): Promise<Buffer>;
  /** gpg with this signer's keys. */
  gpg(...args: readonly string[]): Promise<string>;
}

/** Keys and signatures by the real gpg. @param algorithm in gpg's words: `rsa2048`, `ed25519`, `nistp256`, `dsa2048` */
export async function makeSigner(scope: Scope, algorithm = 'rsa2048'): Promise<TestSigner> {
  const directory = await tempDirectory(scope, 'pgp');
  const gpg = (...args: readonly string[]): Promise<string> =>
    mustRun(programPath('gpg'), ['--homedir', directory, '--batch', '--yes', '--passphrase', '', ...args]);
  scope.after(async () => {
    await run(programPath('gpgconf'), ['--homedir', directory, '--kill', 'gpg-agent']);
  });
  await gpg('--quick-generate-key', 'Test Signer <signer@example.test>', algorithm, 'sign', 'never');
  const keyFile = join(directory, 'key.asc');
  const key = await gpg('--armor', '--export');
  await writeFile(keyFile, key);
  let count = 0;
  return {
    keyFile,
    key,
    gpg,
    sign: async (bytes, ...flags) => {
      const path = join(directory, `signed-${(count += 1)}`);
      await writeFile(path, bytes);
      const how = flags.length > 0 ? flags : ['--armor', '--detach-sign'];
      await gpg('--output', `${path}.asc`, ...how, path);
      return readFile(`${path}.asc`);
    },
  };
}
