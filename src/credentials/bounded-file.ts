import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';

/** The size of a credential file. A Docker config with a thousand registries has a tenth of this. */
const MAX_FILE_BYTES = 1024 * 1024;
/** Opening a pipe that has no writer must not hang. */
const READ_WITHOUT_WAITING = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * The text of a credential file; undefined where there is none. /dev/null counts as none: that is how
 * REGISTRY_AUTH_FILE is switched off.
 * @throws QuayctlError `credentials` that names the file and never its content
 */
export async function readCredentialFile(path: string): Promise<string | undefined> {
  try {
    return await readBounded(path);
  } catch (error) {
    if (error instanceof QuayctlError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new QuayctlError('credentials', `cannot read ${path}`, { cause: error });
  }
}

async function readBounded(path: string): Promise<string | undefined> {
  const file = await open(path, READ_WITHOUT_WAITING);
  try {
    const facts = await file.stat();
    if (facts.isCharacterDevice()) return undefined;
    if (!facts.isFile()) throw new QuayctlError('credentials', `${path} is not a regular file`);
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (length > MAX_FILE_BYTES) {
        throw new QuayctlError('credentials', `${path} is larger than ${MAX_FILE_BYTES} bytes`);
      }
      if (bytesRead === 0) return buffer.toString('utf8', 0, length);
    }
  } finally {
    await file.close();
  }
}

/**
 * The JSON object in a credential file; an empty file is an empty object, as Docker and podman have it.
 * @throws QuayctlError `credentials`. Without the parser's error as cause: that quotes the text.
 */
export function parseCredentialFile(path: string, text: string): Readonly<Record<string, unknown>> {
  const json = text.replace(/^\uFEFF/, '').trim();
  if (json === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new QuayctlError('credentials', `${path} is not valid JSON`);
  }
  if (!isRecord(value)) throw new QuayctlError('credentials', `${path} holds no JSON object`);
  return value;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
