import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { QuayctlError } from '../base/errors.ts';

/**
 * Layers in these are as rare as they are old. Docker has the same program unpack xz; in a process of its own it can
 * take no more memory than it is given.
 */
const ARGUMENTS = {
  xz: ['--decompress', '--stdout', '--format=xz', '--threads=1', '--memlimit-decompress=256MiB'],
  bzip2: ['--decompress', '--stdout'],
} as const;
/** Of what the program says of its failure. */
const MAX_COMPLAINT = 300;

/**
 * What a program of this machine, found in PATH, makes of the bytes on its standard input.
 * @throws QuayctlError `unsupported` where it is missing, `verification` where it fails; what the bytes fail with
 */
export async function* unpackedBy(
  program: keyof typeof ARGUMENTS,
  packed: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const child = spawn(program, ARGUMENTS[program], { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT);
  });
  const ended = once(child, 'close') as Promise<[code: number | null]>;
  // Told below, where it is waited for; what the program did not want to read is no failure of the bytes.
  ended.catch(() => undefined);
  const fed = pipeline(packed, child.stdin).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => {
      child.kill();
      return error.code === 'EPIPE' ? undefined : error;
    },
  );
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>;
    const [code] = await ended;
    const failure = await fed;
    if (failure !== undefined) throw failure;
    if (code !== 0) {
      throw new QuayctlError('verification', `its compression is damaged, says ${program}`, {
        cause: new Error(complaint.trim()),
      });
    }
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? missing(program) : error;
  } finally {
    child.kill();
  }
}

function missing(program: string): QuayctlError {
  return new QuayctlError(
    'unsupported',
    `it is compressed with ${program}, and there is no ${program} program here`,
    {
      hint: `install ${program} where quayctl serve runs`,
    },
  );
}
