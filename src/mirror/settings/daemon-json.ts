import { isDeepStrictEqual } from 'node:util';
import { QuayctlError } from '../../base/errors.ts';
import type { Edit } from './edit.ts';

const KEY = 'registry-mirrors';

/**
 * The mirror as the first of dockerd's `registry-mirrors`, by text: every other byte of daemon.json as it was.
 * @param text undefined where there is no such file
 * @throws QuayctlError `unsupported` for a file that is no object of JSON, or names the mirror already
 */
export function editDaemonJson(text: string | undefined, url: string): Edit {
  if (text === undefined || text.trim() === '') {
    const inserted = `${JSON.stringify({ [KEY]: [url] }, undefined, 2)}\n`;
    return { content: (text ?? '') + inserted, inserted };
  }
  const before = objectOf(text);
  if (before === undefined) throw new QuayctlError('unsupported', 'it is no JSON object');
  const mirrors: unknown = before[KEY] ?? [];
  if (!Array.isArray(mirrors)) {
    throw new QuayctlError('unsupported', `its ${KEY} is no list`);
  }
  if (mirrors.includes(url)) {
    throw new QuayctlError('unsupported', `it names ${url} already, not by us`);
  }
  const wanted = { ...before, [KEY]: [url, ...(mirrors as unknown[])] };
  for (const [at, inserted] of places(text, url, before)) {
    const content = text.slice(0, at) + inserted + text.slice(at);
    if (isDeepStrictEqual(objectOf(content), wanted)) return { content, inserted };
  }
  throw new QuayctlError('unsupported', `there is no place in it for ${KEY}`);
}

/** Where it may go, and what is written there; the same word may stand in a string, so each is read back. */
function* places(
  text: string,
  url: string,
  before: Readonly<Record<string, unknown>>,
): Generator<readonly [at: number, inserted: string]> {
  const element = JSON.stringify(url);
  const mirrors = before[KEY];
  if (!Array.isArray(mirrors)) {
    const indent = /\{[ \t]*\r?\n([ \t]*)"/.exec(text)?.[1];
    const start = indent === undefined ? '' : `\n${indent}`;
    yield [
      text.indexOf('{') + 1,
      `${start}"${KEY}": [${element}]${Object.keys(before).length === 0 ? '' : ','}`,
    ];
    return;
  }
  const after = mirrors.length === 0 ? '' : ', ';
  for (const match of text.matchAll(/"registry-mirrors"\s*:\s*\[\s*/g)) {
    yield [match.index + match[0].length, element + after];
  }
}

export function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
