import { execFile } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { formatBytes, formatDuration, parseSize } from '../base/units.ts';
import { shortDigest } from '../image/digest.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference, parseImageReference } from '../image/reference.ts';
import { QuayctlError } from '../base/errors.ts';
import { openStore } from '../store/open-store.ts';
import { shareStore } from '../store/share-store.ts';
import type { Store } from '../store/store.ts';
import { becomeOwnerOf } from './become-owner.ts';
import { named } from './flags.ts';
import { MACHINE_STORE, ownStoreDirectory, storeDirectory } from './store-directory.ts';
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
  await becomeOwnerOf(storeDirectory(flags.store, session));
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

/** `quayctl store gc`: what goes is named first, on stdout. */
export async function collectGarbage(
  flags: StoreFlags & { readonly maxSize?: string; readonly dryRun?: boolean; readonly json?: boolean },
  session: Session,
): Promise<void> {
  const { dryRun = false } = flags;
  const { terminal } = session;
  const limit = flags.maxSize === undefined ? undefined : await limitOf(flags.maxSize, flags, session);
  const result = await inStore(flags, session, (store) => store.gc(limit, dryRun));
  const { freed, left, removed } = result;
  if (flags.json === true) return terminal.out(`${JSON.stringify({ ...result, dryRun })}\n`);
  for (const { kind, name, digest, bytes } of removed)
    terminal.out(`${KINDS[kind]} ${name ?? digest} (${formatBytes(bytes)})\n`);
  terminal.err(
    `${dryRun ? 'would free' : 'freed'} ${formatBytes(freed)}, ${formatBytes(left)} ${dryRun ? 'would be ' : ''}left\n`,
  );
}

const KINDS = { image: 'image', blob: 'blob', partial: 'unfinished download' } as const;

/** Bytes of `500M`, or of `20%` of the store's file system. @throws QuayctlError `usage` */
async function limitOf(text: string, flags: StoreFlags, session: Session): Promise<number> {
  const [, percent] = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? [];
  if (percent === undefined || Number(percent) > 100) return named('--max-size', text, parseSize);
  const { path } = await inStore(flags, session, (store) => Promise.resolve(store));
  const { blocks, bsize } = await statfs(path);
  return Math.floor((blocks * bsize * Number(percent)) / 100);
}

/** `quayctl store share --group GROUP` @throws QuayctlError `usage` for a group that is not there, `store` */
export async function shareWithGroup(
  flags: StoreFlags & { readonly group: string },
  session: Session,
): Promise<void> {
  const gid = await groupId(flags.group);
  const path = resolve(flags.store ?? MACHINE_STORE);
  if (session.uid !== 0)
    throw new QuayctlError('usage', 'only root shares a store: its members trust who owns it');
  await shareStore(path, gid);
  // What is not there yet is made, and shared.
  await (await openStore(path)).close();
  session.terminal.out(`${path}\n`);
  const use =
    path === MACHINE_STORE
      ? 'it is the default store of everybody in it'
      : `they use it with --store ${path} or QUAYCTL_STORE`;
  session.terminal.err(`Shared with the group ${flags.group}: ${use}.\n`);
}

/** As getent(1) knows it: from /etc/group, LDAP, ... @throws QuayctlError `usage` */
async function groupId(group: string): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)('getent', ['group', '--', group]);
    const [, , gid = ''] = stdout.trim().split(':');
    if (/^\d+$/.test(gid)) return Number(gid);
  } catch {
    // Told below.
  }
  throw new QuayctlError('usage', `--group: there is no group ${JSON.stringify(group)}`, {
    hint: 'groupadd --system GROUP makes one, usermod -aG GROUP USER adds a user to it',
  });
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
