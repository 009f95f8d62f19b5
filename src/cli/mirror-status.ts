import { request } from 'node:http';
import { resolve } from 'node:path';
import { QuayctlError, type ErrorCode } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import { shortDigest } from '../image/digest.ts';
import { parseImageReference } from '../image/reference.ts';
import type { RecentBlob } from '../mirror/control.ts';
import { settingsStates, type SettingsState } from '../mirror/settings/install.ts';
import { SettingsDisk } from '../mirror/settings/settings-disk.ts';
import { SettingsRecord } from '../mirror/settings/settings-record.ts';
import { named } from './flags.ts';
import { controlPath } from './mirror-identity.ts';
import { printableLine } from './printable.ts';
import type { Session } from './session.ts';

const PATIENCE_MS = 10_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const INCOMPLETE = 1;

export interface ControlFlags {
  readonly control?: string;
}

/** What the daemon says of itself. */
export interface MirrorStatus {
  readonly url: string;
  readonly registries: readonly string[];
  /** Bytes. */
  readonly store: { readonly blobs: number; readonly partials: number; readonly limit: number };
  /** The latest last. */
  readonly recent: readonly RecentBlob[];
}

/** `quayctl mirror status` @throws QuayctlError `store` */
export async function runStatus(
  flags: ControlFlags & { readonly json?: boolean; readonly root: string },
  session: Session,
): Promise<void> {
  const disk = new SettingsDisk(resolve(flags.root));
  const settings = await settingsStates(disk, await SettingsRecord.open(disk, session.uid));
  const path = controlPath(flags.control, session);
  const mirror = await ask(path, '/status', session.signal).then(
    ([line]) => JSON.parse(line ?? '') as MirrorStatus,
    () => undefined,
  );
  if (flags.json === true) {
    session.terminal.out(`${JSON.stringify({ mirror: mirror ?? null, settings }, undefined, 2)}\n`);
  } else {
    for (const line of lines(mirror, settings, path)) session.terminal.out(`${printableLine(line)}\n`);
  }
  if (mirror === undefined) session.exitWith(INCOMPLETE);
}

/** `quayctl mirror preheat` @throws QuayctlError `usage`, `unreachable`, and what the daemon's pull ends with */
export async function runPreheat(
  images: readonly string[],
  flags: ControlFlags,
  session: Session,
): Promise<void> {
  for (const image of images) named('IMAGE', image, parseImageReference);
  const path = controlPath(flags.control, session);
  for (const image of images) {
    const answer = await ask(path, `/preheat?image=${encodeURIComponent(image)}`, session.signal);
    const { receipt, error } = JSON.parse(answer.at(-1) ?? '{}') as {
      readonly receipt?: { readonly image: string; readonly total: BlobOutcome };
      readonly error?: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
    };
    if (error !== undefined) throw new QuayctlError(error.code, error.message, { hint: error.hint });
    if (receipt === undefined)
      throw new QuayctlError('unreachable', 'the mirror has ended in the middle of it');
    session.terminal.err(`${image}: ${sources(receipt.total)}\n`);
    session.terminal.out(`${receipt.image}\n`);
  }
}

function lines(mirror: MirrorStatus | undefined, settings: readonly SettingsState[], path: string): string[] {
  const files = settings.map(({ path: file, state }) => `${state.padEnd(12)} ${file}`);
  const shown = files.length === 0 ? ['no settings are installed (quayctl mirror install)'] : files;
  if (mirror === undefined)
    return [`no mirror answers at unix:${path}, or this user may not ask it`, ...shown];
  const { url, registries, store, recent } = mirror;
  return [
    `${url} stands for ${registries.join(', ')}`,
    `store: ${formatBytes(store.blobs + store.partials)} of ${formatBytes(store.limit)}`,
    ...shown,
    ...recent.map(({ at, registry, repository, digest, outcome }) => {
      return `${at} ${registry}/${repository} ${shortDigest(digest)}: ${sources(outcome)}`;
    }),
  ];
}

/** Where bytes came from, as the log says it. */
export function sources({ fromPeers, fromRegistry, fromStore }: BlobOutcome): string {
  const all = [
    [fromPeers, 'from peers'],
    [fromRegistry, 'from the registry'],
    [fromStore, 'from this disk'],
  ] as const;
  const some = all.filter(([bytes]) => bytes > 0);
  return some.map(([bytes, from]) => `${formatBytes(bytes)} ${from}`).join(', ') || 'nothing was missing';
}

/** @returns the lines of the answer @throws QuayctlError `unreachable` */
async function ask(socketPath: string, path: string, signal: AbortSignal): Promise<string[]> {
  const { promise, resolve: done, reject } = Promise.withResolvers<string>();
  const asking = request({ socketPath, path, signal, timeout: PATIENCE_MS }, (answer) => {
    const chunks: Buffer[] = [];
    let length = 0;
    answer.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) asking.destroy(new Error('the answer is too large'));
      else chunks.push(chunk);
    });
    answer.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
    answer.on('error', reject);
  });
  asking.on('timeout', () => asking.destroy(new Error('no answer')));
  asking.on('error', reject);
  asking.end();
  try {
    return (await promise).split('\n').filter((line) => line !== '');
  } catch (cause) {
    signal.throwIfAborted();
    throw new QuayctlError('unreachable', `no mirror answers at unix:${socketPath}`, {
      cause,
      hint: 'quayctl mirror has to run, and only its own user and root may ask it (--control PATH)',
    });
  }
}
