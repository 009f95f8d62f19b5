import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { formatBytes } from '../base/units.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { reportFailure, type Report } from './finding.ts';
import type { ExaminedMachine } from './examined.ts';

/** An engine on this machine answers within milliseconds. */
const ENGINE_MS = 3_000;

/** The disk under the store, and its limit. @param image that is to fit */
export async function examineStore(
  { storePath, openStore }: ExaminedMachine,
  image: ResolvedImage | undefined,
  report: Report,
): Promise<void> {
  try {
    const store = await openStore();
    const free = formatBytes(await freeBytes(storePath));
    if (store === undefined) {
      report('store', 'ok', `${storePath} is not there yet; its disk has ${free} free`);
      await reportRoom(storePath, image, undefined, report);
      return;
    }
    try {
      const { blobs, partials, limit } = await store.usage();
      const used = formatBytes(blobs + partials);
      report('store', 'ok', `${storePath} has ${used} of at most ${formatBytes(limit)}; ${free} free`);
      await reportRoom(storePath, image, { store, limit }, report);
    } finally {
      await store.close();
    }
  } catch (error) {
    reportFailure(report, 'store', error);
  }
}

type OpenStore = NonNullable<Awaited<ReturnType<ExaminedMachine['openStore']>>>;

async function reportRoom(
  path: string,
  image: ResolvedImage | undefined,
  opened: { readonly store: OpenStore; readonly limit: number } | undefined,
  report: Report,
): Promise<void> {
  if (image === undefined) return;
  const { config, layers } = image.manifest;
  const all = new Map([config, ...layers].map((blob) => [blob.digest, blob]));
  const bytes = [...all.values()].reduce((sum, { size }) => sum + size, 0);
  const digest = image.document.descriptor.digest;
  const held = (await opened?.store.heldBlobs({ digest }).catch(() => [])) ?? [];
  const missing = bytes - held.reduce((sum, { size }) => sum + size, 0);
  const free = await freeBytes(path);
  if (missing > free) {
    const message = `${formatBytes(missing)} of the image are to come, and ${formatBytes(free)} are free`;
    report('store', 'failed', message, 'make room, or name a place on another disk with --store DIR');
  } else if (opened !== undefined && bytes > opened.limit) {
    const message = `the image has ${formatBytes(bytes)}, and the store may take ${formatBytes(opened.limit)}`;
    report('store', 'warning', message, '`quayctl store gc --max-size SIZE` sets another limit');
  }
}

/** Of the file system that the path is on, or will be on. */
async function freeBytes(path: string): Promise<number> {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' || at === dirname(at))
        throw new QuayctlError('store', `cannot measure the disk at ${at}`, { cause: error });
    }
  }
}

/** Which engines answer on this machine, and how they keep images. */
export async function examineEngines(
  { engines, engineSettings }: ExaminedMachine,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const away: QuayctlError[] = [];
  for (const entry of engines) {
    const late = AbortSignal.any([signal, AbortSignal.timeout(ENGINE_MS)]);
    try {
      const engine = await entry.open(engineSettings);
      const { os, architecture } = await engine.platform(late);
      const description = (await engine.describe?.(late)) ?? entry.title;
      report('engine', 'ok', `${description}, ${os}/${architecture}`);
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error) && !late.aborted) throw error;
      const isLate = late.aborted || !isQuayctlError(error);
      const said = `${entry.title} did not answer within ${ENGINE_MS / 1000} s`;
      away.push(isLate ? new QuayctlError('engine', said, { cause: error }) : error);
    }
  }
  // Of the engines that are not there, the one that most machines have is most likely meant.
  const [first] = away;
  if (first === undefined || away.length < engines.length) return;
  const { message, hint } = first;
  report('engine', 'warning', `no container engine answers here (${redact(message)})`, hint);
}
