import { isUtf8 } from 'node:buffer';
import { QuayctlError } from '../../base/errors.ts';

/** What becomes of the text of one file of settings. */
export interface Edit {
  readonly content: string;
  /** Our part of it, in one piece; without it the text is what it was. */
  readonly inserted: string;
}

/** Around our part of a file that knows comments. */
const OPENING = '# >>> quayctl mirror (quayctl mirror uninstall removes this block)';
const CLOSING = '# <<< quayctl mirror';

/** Lines of settings as our block, in the file's own way of ending lines. */
export function block(lines: readonly string[], newline = '\n'): string {
  return [OPENING, ...lines, CLOSING].map((line) => line + newline).join('');
}

export function newlineOf(text: string): string {
  return /^[^\n]*\r\n/.test(text) ? '\r\n' : '\n';
}

/** The bytes without our part; undefined where that is not there once, as we left it. */
export function cut(bytes: Buffer, inserted: string): Buffer | undefined {
  const ours = Buffer.from(inserted);
  const at = bytes.indexOf(ours);
  if (ours.length === 0 || at < 0 || bytes.includes(ours, at + 1)) return undefined;
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + ours.length)]);
}

/** Of UTF-8, so that every byte is what it was when the text is written again. @throws QuayctlError `unsupported` */
export function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw new QuayctlError('unsupported', 'it is no text in UTF-8');
}

/** A string of TOML (v1.0.0, "String"), which for what stands in settings is that of JSON. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}
