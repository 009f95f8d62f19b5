import { BESIDE_PEERS } from '../registry/resuming.ts';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';
import type { PartialBlob } from '../store/blob-store.ts';
import { fetchDirectly } from './direct.ts';
import { BlobLedger, type Pace } from './ledger.ts';
import { NOTHING, type BlobOutcome } from './receipt.ts';
import type { Seeds } from './seeds.ts';
import type { TorrentFinder } from './torrents.ts';
import type { FetchRules, FetchWorld } from './world.ts';

/** Under this a swarm costs more than it saves: the registry first (the contract's number). */
export const SMALL_BLOB_BYTES = 1024 * 1024;
const PROGRESS_MS = 200;
/** A small blob is here in less, and a registry that hangs must not hold up the pull: then peers are asked, too. */
const SMALL_BLOB_MS = 4_000;

/** What the downloads of one run share. */
export interface BlobTools<World extends FetchWorld = FetchWorld> {
  readonly world: World;
  readonly rules: FetchRules;
  readonly finder: TorrentFinder;
  /** Takes over the swarms of blobs that are done, so that this node gives while the pull goes on. */
  readonly seeds: Seeds;
  readonly pace: Pace;
}

/** One blob on its way. */
interface Download {
  readonly blob: Descriptor;
  readonly partial: PartialBlob;
  readonly ledger: BlobLedger;
  readonly tools: BlobTools;
  readonly signal: AbortSignal;
}

/**
 * One blob into the store, from the swarm (peers, and the registry as one more peer), else from the registry
 * alone. The store verifies it; content that does not verify is thrown away and asked of the registry once more.
 * @param onReceived told, now and then, how much of it is here
 * @throws QuayctlError `verification`, `no-torrent`, `no-peers`, `unreachable`, `unauthorized`, `disk-full`, ...
 */
export async function fetchBlob(
  blob: Descriptor,
  tools: BlobTools,
  signal: AbortSignal,
  onReceived: (bytes: number) => void = () => undefined,
): Promise<BlobOutcome> {
  const partial = await tools.world.store.begin(blob, signal);
  if (partial === 'present') return { ...NOTHING, fromStore: blob.size };
  const ledger = new BlobLedger(blob, partial);
  const download: Download = { blob, partial, ledger, tools, signal };
  const report = (): void => {
    const progress = ledger.progress();
    tools.world.listener({ kind: 'progress', progress });
    onReceived(progress.received);
  };
  const ticker = setInterval(report, PROGRESS_MS);
  try {
    await obtain(download);
    await commit(download);
    const outcome = ledger.outcome();
    tools.pace.observe(outcome);
    return outcome;
  } finally {
    clearInterval(ticker);
    report();
    await handOver(download);
  }
}

/** Which way the bytes come. */
async function obtain(download: Download): Promise<void> {
  const { blob, partial, tools, signal } = download;
  if (partial.written === blob.size) return;
  if (blob.size < SMALL_BLOB_BYTES && !tools.rules.skipWebSeed) return registryFirst(download);
  const plan = await tools.finder.find(blob, tools.pace.estimate(blob.size), signal);
  if (tools.rules.skipWebSeed) {
    const metainfo = plan.kind === 'torrent' ? plan.metainfo : await laterOrNever(plan, signal);
    if (metainfo !== undefined) return join(download, metainfo);
    if (plan.kind === 'none' && plan.refused !== undefined) throw plan.refused;
    throw new QuayctlError(
      'no-torrent',
      `no torrent of ${shortDigest(blob.digest)}${plan.kind === 'none' ? `: ${plan.reason}` : ''}`,
      { hint: 'without --skip-web-seed it would come from the registry' },
    );
  }
  switch (plan.kind) {
    case 'torrent':
      return swarmThenRegistry(download, plan.metainfo);
    case 'later':
      return registryUntilHashed(download, plan.metainfo);
    case 'none':
      say(download, 'debug', `no torrent (${plan.reason}); the registry alone delivers`);
      return registryAlone(download, signal);
  }
}

async function laterOrNever(
  plan: Exclude<Awaited<ReturnType<TorrentFinder['find']>>, { kind: 'torrent' }>,
  signal: AbortSignal,
): Promise<Metainfo | undefined> {
  return plan.kind === 'later' ? plan.metainfo(signal) : undefined;
}

/** Small blobs: a swarm only when the registry fails, or hangs. */
async function registryFirst(download: Download): Promise<void> {
  const { blob, tools, signal } = download;
  const patience = AbortSignal.timeout(SMALL_BLOB_MS);
  try {
    await registryAlone(download, AbortSignal.any([signal, patience]));
  } catch (error) {
    signal.throwIfAborted();
    const isSlow = error === patience.reason;
    if (!isSlow && !isQuayctlError(error, 'unreachable', 'rate-limited', 'protocol')) throw error;
    const plan = await tools.finder.find(blob, 0, signal);
    if (plan.kind === 'torrent') {
      say(download, 'debug', `${isSlow ? 'the registry is slow' : String(error)}; trying peers`);
      return isSlow ? swarmThenRegistry(download, plan.metainfo) : join(download, plan.metainfo);
    }
    if (!isSlow) throw error;
    await registryAlone(download, signal);
  }
}

/** The service is still hashing: the registry meanwhile, then the swarm with the bytes that are here by then. */
async function registryUntilHashed(
  download: Download,
  metainfoLater: (signal: AbortSignal) => Promise<Metainfo | undefined>,
): Promise<void> {
  const { signal } = download;
  const stopAsking = new AbortController();
  const stopRegistry = new AbortController();
  const torrent = metainfoLater(AbortSignal.any([signal, stopAsking.signal])).catch(() => undefined);
  const registry = registryAlone(download, AbortSignal.any([signal, stopRegistry.signal]));
  registry.catch(() => undefined);
  try {
    const first = await Promise.race([registry.then(() => undefined), torrent]);
    if (first === undefined) return await registry;
    stopRegistry.abort();
    await registry.catch(() => undefined);
    await swarmThenRegistry(download, first);
  } finally {
    stopAsking.abort();
  }
}

async function swarmThenRegistry(download: Download, metainfo: Metainfo): Promise<void> {
  const { ledger, signal } = download;
  try {
    await join(download, metainfo);
  } catch (error) {
    signal.throwIfAborted();
    // Errors of the registry and of our own disk or port range would only repeat themselves.
    if (isQuayctlError(error) && !isQuayctlError(error, 'protocol', 'internal', 'no-peers')) throw error;
    say(download, 'warning', `the swarm failed (${String(error)}); the registry alone delivers`);
    await ledger.swarm?.leave();
    ledger.left();
    await registryAlone(download, signal);
  }
}

async function join({ blob, partial, ledger, tools, signal }: Download, metainfo: Metainfo): Promise<void> {
  const { world, rules, finder } = tools;
  const client = await world.swarm();
  const swarm = await client.join({
    metainfo,
    storage: partial,
    signal,
    waitForPeersMs: rules.waitForPeersMs,
    renewTrackers: (abort) => finder.renewTrackers(blob, metainfo, abort),
    ...(rules.trackers.length > 0 ? { trackers: rules.trackers } : {}),
    ...(rules.skipWebSeed
      ? {}
      : { registry: (start, end, abort) => world.repository.blob(blob, start, end, abort, BESIDE_PEERS) }),
  });
  ledger.joined(swarm);
  await swarm.done;
}

async function registryAlone({ blob, partial, ledger, tools }: Download, signal: AbortSignal): Promise<void> {
  await fetchDirectly(partial, blob, tools.world, (length) => ledger.addDirect(length), signal);
}

/**
 * The store's door. When the bytes are wrong, a torrent of other bytes or a damaged partial may be why: the registry
 * is asked once more for all of it, and is then believed or not.
 */
async function commit(download: Download): Promise<void> {
  const { partial, ledger, tools, signal } = download;
  try {
    await partial.commit();
  } catch (error) {
    const suspect = ledger.swarm !== undefined || ledger.resumed > 0;
    if (!isQuayctlError(error, 'verification') || !suspect || tools.rules.skipWebSeed) {
      // What is wrong must not be taken up again by the next run.
      if (isQuayctlError(error, 'verification')) await partial.discard();
      throw error;
    }
    say(download, 'warning', `${error.message}; fetching it again from the registry alone`);
    await ledger.swarm?.leave();
    ledger.startOver();
    await partial.discard();
    await registryAlone(download, signal);
    await partial.commit();
  }
}

/** A finished swarm goes on giving and takes the open file with it; else all is closed, kept for the next run. */
async function handOver({ blob, partial, ledger, tools }: Download): Promise<void> {
  const { swarm } = ledger;
  if (swarm !== undefined && partial.written === blob.size) {
    tools.seeds.add({ digest: blob.digest, swarm, close: () => partial.close() });
    return;
  }
  await swarm?.leave();
  await partial.close();
}

function say({ blob, tools }: Download, kind: 'warning' | 'debug', message: string): void {
  tools.world.listener({ kind, message: `${shortDigest(blob.digest)}: ${message}` });
}
