import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { QuayctlError } from '../base/errors.ts';

/** Where a user types. */
export interface Keyboard extends Readable {
  readonly isTTY?: boolean;
  /** On a terminal: keys arrive one by one and are not shown. */
  setRawMode?(raw: boolean): unknown;
}

/** Nobody types more; a file that was meant for another program is no password. */
const MAX_INPUT_BYTES = 64 * 1024;
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const CTRL_U = '\u0015';
const ESCAPE = '\u001b';
/** Arrow keys and their like are no part of an answer. */
const KEY_SEQUENCE = new RegExp(`${ESCAPE}(?:\\[[0-9;]*[A-Za-z~]|O[A-Z])`, 'g');
const BACKSPACE = new Set(['\b', '\u007f']);

/**
 * Asks for one line on a terminal. `hidden` shows nothing while it is typed. However it ends, the terminal is as
 * before.
 * @throws QuayctlError `interrupted` after Ctrl-C, `usage` when the input ends; the signal's reason
 */
export async function ask(
  question: string,
  hidden: boolean,
  keyboard: Keyboard,
  write: (text: string) => void,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  // Before the question: no key that is pressed after it may show.
  if (hidden) keyboard.setRawMode?.(true);
  try {
    write(question);
    return await readLine(keyboard, signal);
  } finally {
    if (hidden) {
      keyboard.setRawMode?.(false);
      write('\n');
    }
  }
}

function readLine(keyboard: Keyboard, signal: AbortSignal): Promise<string> {
  const decoder = new StringDecoder('utf8');
  let line = '';
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      keyboard.off('data', onData).off('end', onEnd).off('error', onEnd);
      signal.removeEventListener('abort', onAbort);
      keyboard.pause();
      settle();
    };
    const onEnd = (): void =>
      finish(() => reject(new QuayctlError('usage', 'the input ended before the answer')));
    const onAbort = (): void => {
      const reason: unknown = signal.reason;
      finish(() => reject(reason instanceof Error ? reason : new Error('aborted', { cause: reason })));
    };
    const onData = (chunk: Buffer): void => {
      const keys = decoder.write(chunk).replace(KEY_SEQUENCE, '');
      for (const [at, key] of Array.from(keys).entries()) {
        if (key === '\r' || key === '\n') {
          const rest = Array.from(keys)
            .slice(at + 1)
            .join('');
          finish(() => resolve(line));
          // Typed ahead: it answers the next question.
          if (rest !== '') keyboard.unshift(Buffer.from(rest));
          return;
        }
        if (key === CTRL_C) return finish(() => reject(new QuayctlError('interrupted', 'interrupted')));
        if (key === CTRL_D) return onEnd();
        if (key === CTRL_U) line = '';
        else if (BACKSPACE.has(key)) line = Array.from(line).slice(0, -1).join('');
        else if (key >= ' ' && line.length < MAX_INPUT_BYTES) line += key;
      }
    };
    keyboard.on('data', onData).once('end', onEnd).once('error', onEnd);
    signal.addEventListener('abort', onAbort, { once: true });
    keyboard.resume();
  });
}

/**
 * All of stdin as one secret, without the newline that `echo` and most files end with.
 * @throws QuayctlError `usage` for none, or more than a password can be; the signal's reason
 */
export async function readSecret(input: Readable, signal: AbortSignal): Promise<string> {
  const onAbort = (): void => void input.destroy();
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_INPUT_BYTES)
        throw new QuayctlError('usage', 'what stdin holds is too long for a password');
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  signal.throwIfAborted();
  const secret = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (secret === '') throw new QuayctlError('usage', 'stdin holds no password');
  return secret;
}
