import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { QuayctlError } from '../base/errors.ts';
import { failureOf, printFailure } from './failure.ts';
import type { Session } from './session.ts';

/** A list of images is some kilobytes long. */
const MAX_LIST_BYTES = 1024 * 1024;

/**
 * The images of the command line and of `--from FILE`: one name a line, `#` begins a comment, `-` is stdin.
 * @throws QuayctlError `usage` for a file that cannot be read, and where no image is named at all
 */
export async function namedImages(images: readonly string[], from: string | undefined): Promise<string[]> {
  if (from === undefined) {
    if (images.length === 0) throw new QuayctlError('usage', 'an image is missing: quayctl pull IMAGE...');
    return [...images];
  }
  const path = from === '-' ? 'stdin' : from;
  const reading = from === '-' ? readAll(process.stdin) : readFile(path, 'utf8');
  const text = await reading.catch((cause: unknown) => {
    throw new QuayctlError('usage', `--from: cannot read ${path}`, { cause });
  });
  if (text.length > MAX_LIST_BYTES) throw new QuayctlError('usage', `--from: ${path} is no list of images`);
  const listed = text.split('\n').map((line) => line.replace(/(?:^|\s)#.*/, '').trim());
  const all = [...images, ...listed.filter((line) => line !== '')];
  if (all.length === 0) throw new QuayctlError('usage', `--from: ${path} names no image`);
  return all;
}

/**
 * Pulls images one after the other; one that fails does not stop the others. With `--json`, several of them make one
 * object `{images: [receipt or error], exitCode}`; the exit code is that of the first failure.
 * @throws what pulling the image throws, where there is only one
 */
export async function eachImage(
  images: readonly string[],
  isJson: boolean,
  session: Session,
  pullOne: (image: string, session: Session, isLast: boolean) => Promise<void>,
): Promise<void> {
  const [only] = images;
  if (only !== undefined && images.length === 1) return pullOne(only, session, true);
  const rows: unknown[] = [];
  let exitCode = 0;
  for (const [at, image] of images.entries()) {
    const out = (text: string): void => void rows.push(JSON.parse(text));
    const terminal = isJson ? { ...session.terminal, out } : session.terminal;
    try {
      await pullOne(image, { ...session, terminal }, at === images.length - 1);
    } catch (error) {
      // Ctrl-C is meant for all of them.
      if (session.signal.aborted) throw error;
      const failure = failureOf(error, undefined);
      printFailure({ ...failure, message: `${image}: ${failure.message}` }, session.terminal);
      const { code, message, hint } = failure;
      rows.push({ image, error: { code, message, ...(hint === undefined ? {} : { hint }) } });
      exitCode ||= failure.exitCode;
    }
  }
  if (isJson) session.terminal.out(`${JSON.stringify({ images: rows, exitCode })}\n`);
  session.exitWith(exitCode);
}
