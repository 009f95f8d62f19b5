import { open, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import { formatBytes } from '../base/units.ts';
import { shortDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';
import type { Contact, PieceStorage, Swarm } from '../swarm/swarm-client.ts';
import { reportFailure, type Report } from './finding.ts';
import type { ExaminedImage } from './examined.ts';

/** A speed is measured for so long, ... */
const MEASURE_MS = 3_000;
/** ... or over so many bytes. */
const MEASURE_BYTES = 64 * 1024 * 1024;
/** A connection to a node that does not answer is given up after 5 s. */
const MEETING_MS = 7_000;
/** A tracker has named whom it knows by then. */
const ALONE_MS = 2_000;
const LOOK_MS = 100;
/** Nodes that get a line of their own. */
const MOST_LINES = 20;

/** How fast the registry gives the blob: some seconds of it. */
export async function measureRegistry(
  { repository }: ExaminedImage,
  blob: Descriptor,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const end = Math.min(blob.size, MEASURE_BYTES);
  const begun = performance.now();
  let bytes = 0;
  try {
    for await (const chunk of repository.blob(blob, 0, end, signal)) {
      bytes += chunk.length;
      if (performance.now() - begun > MEASURE_MS) break;
    }
    report('speed', 'ok', `the registry gives ${rate(bytes, performance.now() - begun)}`);
  } catch (error) {
    reportFailure(report, 'speed', error);
  }
}

/**
 * Connects to the nodes that the tracker names, one line for each, and takes pieces of them for some seconds, into a file
 * that is gone afterwards. The registry is not asked.
 */
export async function examinePeers(
  examined: ExaminedImage,
  blob: Descriptor,
  metainfo: Metainfo,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const storage = await openScratch(blob.size);
  try {
    const client = await examined.swarm();
    const swarm = await client.join({
      metainfo,
      storage,
      serviceKeys: (kid) => examined.torrents.serviceKeys(kid, signal),
      signal: AbortSignal.any([signal, stop.signal]),
    });
    swarm.done.catch(() => undefined);
    const { contacts, ms } = await meet(swarm, examined.measures, signal);
    const { fromPeers } = swarm.stats();
    await swarm.leave();
    reportContacts(contacts, blob, examined.ports, report);
    if (examined.measures && fromPeers > 0) report('speed', 'ok', `peers give ${rate(fromPeers, ms)}`);
  } catch (error) {
    if (isQuayctlError(error)) reportFailure(report, 'peers', error);
    else throw error;
  } finally {
    stop.abort(new QuayctlError('interrupted', 'enough was seen'));
    await storage.close();
  }
}

/** Nodes that were met, and how long bytes came from them, milliseconds. */
interface Meeting {
  readonly contacts: readonly Contact[];
  readonly ms: number;
}

async function meet(swarm: Swarm, measures: boolean, signal: AbortSignal): Promise<Meeting> {
  const begun = performance.now();
  const met = new Map<string, Contact>();
  let first: number | undefined;
  for (;;) {
    await delay(LOOK_MS, signal);
    const now = performance.now();
    const { fromPeers, fromStorage } = swarm.stats();
    for (const contact of swarm.contacts()) {
      // One that came in says in a moment where it is reached; until then it would count twice.
      if (!/:\d+$/.test(contact.address)) continue;
      // Two nodes that have everything part: who was connected once is no failure.
      if (contact.state === 'connected' || met.get(contact.address)?.state !== 'connected')
        met.set(contact.address, contact);
    }
    const contacts = [...met.values()];
    if (fromPeers > 0) first ??= now - LOOK_MS;
    const isSettled = contacts.length > 0 && contacts.every(({ state }) => state !== 'waiting');
    // Beyond that it would only fill the disk.
    const isEnough = fromPeers + fromStorage >= MEASURE_BYTES;
    const isMeasured =
      !measures ||
      (first === undefined ? contacts.every(({ state }) => state === 'failed') : now - first > MEASURE_MS) ||
      (await isDone(swarm));
    const most = contacts.length === 0 ? ALONE_MS : MEETING_MS;
    if (isEnough || (isSettled && isMeasured) || now - begun > most)
      return { contacts, ms: now - (first ?? begun) };
  }
}

function isDone({ done }: Swarm): Promise<boolean> {
  return Promise.race([
    done.then(
      () => true,
      () => true,
    ),
    Promise.resolve(false),
  ]);
}

function reportContacts(
  contacts: readonly Contact[],
  { digest }: Descriptor,
  { lower, upper }: ExaminedImage['ports'],
  report: Report,
): void {
  if (contacts.length === 0)
    return report('peers', 'warning', `no other node has ${shortDigest(digest)} now: the registry gives it`);
  const connected = contacts.filter(({ state }) => state === 'connected');
  const hint = `nodes need ${lower}-${upper}/tcp, or what theirs use, from each other: open it in their firewalls`;
  // Where nobody is reached at all, that is what has to be mended; one node that is away is no news.
  const status = connected.length === 0 ? 'failed' : 'warning';
  for (const { address, state, why, isTls, share } of contacts.slice(0, MOST_LINES)) {
    if (state === 'connected') {
      const encryption = isTls === true ? 'TLS' : 'no TLS';
      report('peers', 'ok', `${address}: connected (${encryption}), has ${Math.floor((share ?? 0) * 100)} %`);
    } else report('peers', status, `${address}: ${why ?? 'no answer'}`, hint);
  }
  const more = contacts.length - MOST_LINES;
  if (more > 0)
    report('peers', 'ok', `${more} more; ${connected.length} of ${contacts.length} are connected`);
}

/** A file without a name, for the pieces that are taken while the speed is measured. */
async function openScratch(size: number): Promise<PieceStorage & { close(): Promise<void> }> {
  const path = join(tmpdir(), `quayctl-doctor-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await rm(path);
  return {
    size,
    has: () => false,
    read: async (offset, length, into = Buffer.allocUnsafe(length)) => {
      const { bytesRead } = await file.read(into, 0, length, offset);
      return into.subarray(0, bytesRead);
    },
    write: async (offset, bytes) => {
      await file.write(bytes, 0, bytes.length, offset);
    },
    close: () => file.close(),
  };
}

function rate(bytes: number, ms: number): string {
  return `${formatBytes(bytes / (Math.max(1, ms) / 1000))}/s`;
}
