import type { Change } from './apply.ts';

/** A copy of the mirror's certificate, for engines to check it by. */
export function certificateFile(path: string, pem: string): Change {
  return { path, mode: 0o644, edit: () => ({ content: pem, inserted: pem }) };
}
