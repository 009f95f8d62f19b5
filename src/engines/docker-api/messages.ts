import type { Readable } from 'node:stream';
import { QuayctlError } from '../../base/errors.ts';
import { DockerRefusal } from './failures.ts';

/** One line of what the daemon streams while it works (moby `pkg/jsonmessage`). */
export interface DockerMessage {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
}

/** The longest real lines are errors that quote a list of layers, some kB. */
const MAX_LINE = 1024 * 1024;

/**
 * Reads the stream to its end, whatever the HTTP status was: the daemon says 200 before it begins to work.
 * @throws DockerRefusal at an `errorDetail`, an `error` or a failed unpack; QuayctlError `engine` at what is no message
 */
export async function readMessages(
  answer: Readable,
  onMessage: (message: DockerMessage) => void,
): Promise<void> {
  let refused: DockerRefusal | undefined;
  for await (const line of lines(answer)) {
    const message = parse(line);
    const error = message.errorDetail?.message ?? message.error ?? failedUnpack(message);
    // The stream is read on to its end, so that the connection can be used again.
    if (error !== undefined)
      refused ??= new DockerRefusal(typeof error === 'string' ? error : 'an error without a text', 200);
    else onMessage(message);
  }
  if (refused !== undefined) throw refused;
}

async function* lines(answer: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of answer) {
    rest += decoder.decode(chunk as Uint8Array, { stream: true });
    const complete = rest.split('\n');
    rest = complete.pop() ?? '';
    if (rest.length > MAX_LINE) throw new QuayctlError('engine', 'Docker: a message longer than 1 MiB');
    for (const line of complete) if (line.trim() !== '') yield line;
  }
  if (rest.trim() !== '') yield rest;
}

/**
 * From 27.2 on an engine with containerd's store reports a layer that it could not unpack as a line of progress, and
 * calls the load a success. (moby daemon/containerd/image_exporter.go, LoadImage)
 */
function failedUnpack({ stream }: WireMessage): string | undefined {
  return typeof stream === 'string' && stream.startsWith('Error unpacking image ') ? stream : undefined;
}

interface WireMessage extends DockerMessage {
  readonly error?: unknown;
  readonly errorDetail?: { readonly message?: unknown };
}

function parse(line: string): WireMessage {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Told below, together with JSON that is no object.
  }
  throw new QuayctlError('engine', `Docker: not a message: ${JSON.stringify(line.slice(0, 200))}`);
}
