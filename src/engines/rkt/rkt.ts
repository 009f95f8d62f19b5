import { QuayctlError } from '../../base/errors.ts';
import type { AciEngineEntry } from '../engine-entry.ts';

export const rkt: AciEngineEntry = {
  name: 'rkt',
  title: 'rkt',
  imageKind: 'appc',
  options: [
    {
      flags: '--insecure-options <list>',
      help: "handed to rkt as it is: 'image' skips the signature check",
      verbs: ['pull', 'seed'],
    },
  ],
  open: async ({ env, options }) =>
    (await import('./rkt-engine.ts')).openRkt(env, insecureOptions(options['insecureOptions'])),
};

/** rkt reads the words itself; what cannot be a list of words must not reach its command line. */
function insecureOptions(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^[a-z]+(?:[,-][a-z]+)*$/.test(value)) return value;
  throw new QuayctlError('usage', '--insecure-options: words of rkt, as in image or http,ondisk');
}
