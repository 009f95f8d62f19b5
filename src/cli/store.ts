import { formatBytes, formatDuration, parseSize } from '../base/units.ts';
import { shortDigest } from '../image/digest.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference, parseImageReference } from '../image/reference.ts';
import { QuayctlError } from '../base/errors.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { named } from './flags.ts';
import { ownStoreDirectory } from './open-commons.ts';
import type { Session } from './session.ts';

interface StoreFlags {
  readonly store?: string;
}

/** Opens the store for a piece of work and closes it after, however it ends. */
async function inStore<Result>(
  flags: StoreFlags,
  session: Session,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  const store = await openStore(await ownStoreDirectory(flags.store, session));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** `quayctl store ls` */
export async function listStore(
  flags: StoreFlags & { readonly json?: boolean },
  session: Session,
): Promise<void> {
  const images = await inStore(flags, session, (store) => store.listImages());
  if (flags.json === true) {
    const rows = images.map(({ reference, digest, platform, size, lastUsed, complete }) => ({
      image: formatReference(reference),
      digest,
      ...(platform === undefined ? {} : { platform: formatPlatform(platform) }),
      size,
      lastUsed: lastUsed.toISOString(),
      complete,
    }));
    session.terminal.out(`${JSON.stringify(rows)}\n`);
    return;
  }
  const rows = images.map(({ reference, digest, platform, size, lastUsed, complete }) => [
    formatReference(reference),
    shortDigest(digest),
    platform === undefined ? '-' : formatPlatform(platform),
    formatBytes(size),
    `${formatDuration(Date.now() - lastUsed.getTime())} ago`,
    complete ? '' : 'incomplete',
  ]);
  session.terminal.out(table([['IMAGE', 'DIGEST', 'PLATFORM', 'SIZE', 'LAST USED', ''], ...rows]));
}

/** `quayctl store rm IMAGE` @throws QuayctlError `not-found` */
export async function removeFromStore(image: string, flags: StoreFlags, session: Session): Promise<void> {
  const reference = parseImageReference(image);
  if (!(await inStore(flags, session, (store) => store.removeImage(reference)))) {
    throw new QuayctlError('not-found', `${formatReference(reference)} is not in the store`);
  }
  session.terminal.out(`${formatReference(reference)}\n`);
}

/** `quayctl store gc` */
export async function collectGarbage(
  flags: StoreFlags & { readonly maxSize?: string },
  session: Session,
): Promise<void> {
  const limit = flags.maxSize === undefined ? undefined : named('--max-size', flags.maxSize, parseSize);
  const { freed, left } = await inStore(flags, session, (store) => store.gc(limit));
  session.terminal.err(`freed ${formatBytes(freed)}, ${formatBytes(left)} left\n`);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
