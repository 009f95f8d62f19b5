import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import type { QuayctlError } from '../../src/base/errors.ts';

/** Where docker-credential-fixture lies. */
const FIXTURES = join(import.meta.dirname, '../fixtures/credentials');

/** What a helper needs to run, and our helper in front. */
export const helperEnv = { PATH: [FIXTURES, process.env['PATH'] ?? ''].join(delimiter) };

export const signal = new AbortController().signal;

export async function writeJson(path: string, value: unknown): Promise<string> {
  return writeText(path, JSON.stringify(value));
}

export async function writeText(path: string, text: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** For assert.rejects: code and text fit, and no secret of the fixtures is in the error or its causes. */
export function failsWith(code: QuayctlError['code'], pattern: RegExp): (error: QuayctlError) => boolean {
  return (error) => {
    const told: string[] = [error.hint ?? ''];
    for (let at: unknown = error; at instanceof Error; at = at.cause) told.push(at.message, at.stack ?? '');
    if (/s3cret|czNjcmV0/.test(told.join('\n'))) throw new Error('the error tells a secret');
    if (error.code !== code || !pattern.test(error.message)) {
      throw new Error(`not ${code} ${String(pattern)}: ${error.code} ${error.message}`);
    }
    return true;
  };
}
