import { QuayctlError } from '../../base/errors.ts';
import { redact } from '../../base/redact.ts';
import { formatAppcName, type AppcName } from '../../image/appc-name.ts';
import type { RktAnswer } from './program.ts';

/** What rkt says, and what that means; it has one exit code for all of it. */
const MEANINGS: readonly (readonly [pattern: RegExp, meaning: Meaning])[] = [
  [
    /signature made by unknown entity/,
    {
      code: 'engine',
      reason: 'rkt does not trust the key that signed it',
      hint: (image) => `rkt trust --prefix ${image?.name ?? 'NAME'}`,
    },
  ],
  [
    /invalid signature|no valid signatures found/,
    { code: 'verification', reason: 'its signature does not verify' },
  ],
  [/openpgp: |PGP SIGNATURE/, { code: 'verification', reason: 'its signature cannot be read' }],
  [
    /fingerprint mismatch/,
    { code: 'engine', reason: 'a file among the keys that rkt trusts is not named after its key' },
  ],
  [
    /cannot open store|permission denied/,
    {
      code: 'engine',
      reason: 'rkt cannot use its store',
      hint: () => 'run quayctl as root, or as a member of the group rkt',
    },
  ],
  [/no space left on device/, { code: 'engine', reason: "the disk of rkt's store is full" }],
  [/discovery failed/, { code: 'engine', reason: 'rkt cannot find an image that it depends on' }],
];

interface Meaning {
  readonly code: 'engine' | 'verification';
  readonly reason: string;
  readonly hint?: (name: AppcName | undefined) => string;
}

/** An rkt that did not do what it was asked to. */
export function fetchFailure(name: AppcName, { exitCode, complaint }: RktAnswer): QuayctlError {
  const what = `rkt did not take ${formatAppcName(name)}`;
  const said = new Error(redact(complaint === '' ? endingOf(exitCode) : complaint));
  const meaning = MEANINGS.find(([pattern]) => pattern.test(complaint))?.[1];
  if (meaning === undefined) return new QuayctlError('engine', what, { cause: said });
  const { code, reason, hint } = meaning;
  return new QuayctlError(code, `${what}: ${reason}`, { cause: said, hint: hint?.(name) });
}

/** Of the questions around a fetch. @param question `image list` */
export function questionFailure(question: string, { exitCode, complaint }: RktAnswer): QuayctlError {
  const cause = new Error(redact(complaint === '' ? endingOf(exitCode) : complaint));
  const meaning = MEANINGS.find(([pattern]) => pattern.test(complaint))?.[1];
  const why = meaning === undefined ? '' : `: ${meaning.reason}`;
  return new QuayctlError('engine', `rkt ${question} fails${why}`, {
    cause,
    hint: meaning?.hint?.(undefined),
  });
}

function endingOf(exitCode: number | null): string {
  return exitCode === null ? 'a signal ended it' : `exit code ${exitCode}`;
}
