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
  const keyBytes = Number(/^rsa(\d+)$/.exec(algorithm)?.[1]) / 8;
  let count = 0;
  const sign = async (bytes: Uint8Array, flags: readonly string[]): Promise<Buffer> => {
    const path = join(directory, `signed-${(count += 1)}`);
    await writeFile(path, bytes);
    // One RSA signature in 256 begins with a zero byte, which is not written; rkt refuses it.
    for (let salt = 0; ; salt++) {
      await gpg('--output', `${path}.asc`, '--sig-notation', `salt@example.test=${salt}`, ...flags, path);
      const length = await rsaLength(gpg, `${path}.asc`);
      if (length === undefined || length === keyBytes) return readFile(`${path}.asc`);
    }
  };
  return {
    keyFile,
    key,
    gpg,
    sign: (bytes, ...flags) => sign(bytes, flags.length > 0 ? flags : ['--armor', '--detach-sign']),
  };
}

/** The length of a detached signature, bytes; undefined for other things than RSA signatures. */
async function rsaLength(gpg: TestSigner['gpg'], path: string): Promise<number | undefined> {
  const packets = await gpg('--list-packets', path);
  const [, bits] = /^:signature packet: algo 1,[^]*?^\tdata: \[(\d+) bits\]/m.exec(packets) ?? [];
  return bits === undefined ? undefined : Math.ceil(Number(bits) / 8);
}
