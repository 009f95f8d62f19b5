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

/** All that rkt knows (`rkt help fetch`). It would refuse others only when the image has been downloaded. */
const INSECURE_OPTIONS: readonly string[] = [
  'none',
  'image',
  'tls',
  'ondisk',
  'http',
  'pubkey',
  'capabilities',
  'paths',
  'seccomp',
  'all-fetch',
  'all-run',
  'all',
];

function insecureOptions(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const words = typeof value === 'string' ? value.split(',') : [''];
  const wrong = words.find((word) => !INSECURE_OPTIONS.includes(word));
  if (wrong === undefined) return words.join(',');
  throw new QuayctlError(
    'usage',
    `--insecure-options: ${JSON.stringify(wrong)} is not an option that rkt knows`,
    {
      hint: `they are ${INSECURE_OPTIONS.join(', ')}`,
    },
  );
}
