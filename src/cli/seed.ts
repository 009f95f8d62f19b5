import type { OciEngineEntry } from '../engines/engine-entry.ts';
import { parseImageReference, type ImageReference } from '../image/reference.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import { pull } from '../pull/pull.ts';
import type { PullEvent } from '../pull/events.ts';
import type { Receipt } from '../pull/receipt.ts';
import type { PullRequest } from '../pull/request.ts';
import { pullSquashed } from '../pull/squashed.ts';
import { seedStore } from '../pull/seed-store.ts';
import type { PullContext } from '../pull/pull-context.ts';
import { becomeOwnerOf } from './become-owner.ts';
import { readTorrentFlags, type RawTorrentFlags } from './flags.ts';
import { hostPlatform, withContexts, openEngine, rulesOf } from './with-contexts.ts';
import type { Session } from './session.ts';
import { storeDirectory } from './store-directory.ts';
import { openSeedMetrics } from './seed-metrics.ts';
import { openTalk } from './reporter.ts';

/**
 * `quayctl ENGINE torrent seed` and `quayctl torrent seed`: what the store lacks is downloaded (nothing is loaded into
 * an engine), then everything is given to others. With no image: all that the store holds, and what other quayctl
 * processes add to it. @throws QuayctlError
 */
export async function runSeed(
  images: readonly string[],
  engine: OciEngineEntry | undefined,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  if (engine === undefined) await becomeOwnerOf(storeDirectory(flags.store, session));
  const references = images.map(parseImageReference);
  const talk = await openTalk(raw, engine?.title, session.terminal);
  const rules = rulesOf(flags);
  const told: ((event: BlobEvent) => void)[] = [];
  const listener = (event: PullEvent): void => {
    if (event.kind === 'fetched') for (const tell of told) tell(event);
    talk.listener(event);
  };
  let closeMetrics: (() => Promise<void>) | undefined;
  try {
    await withContexts(flags, await openEngine(engine, raw, session), listener, session, async (contexts) => {
      closeMetrics = await openSeedMetrics(raw, contexts.downloads, told, listener);
      if (references.length === 0) {
        const { durationMs, torrentService } = flags;
        const { store } = contexts;
        if ((await store.listImages()).length === 0)
          talk.line(`The store ${store.path} holds no images yet; what is pulled into it is seeded`);
        // Each image's torrents where they were found when it was pulled.
        const of = async (reference: ImageReference): Promise<PullContext> =>
          contexts.of(reference, torrentService ?? (await store.serviceOf(reference)));
        await seedStore({ contexts: { ...contexts, of }, rules, durationMs }, session.signal);
        const { torrents, uploaded, takers } = contexts.downloads.seeds.totals();
        if (raw.json === true)
          session.terminal.out(`${JSON.stringify({ seeded: { torrents, uploaded, takers } })}\n`);
        return;
      }
      await Promise.all(
        references.map(async (reference) => seedImage(reference, await contexts.of(reference))),
      );
    });
  } finally {
    await closeMetrics?.();
    talk.end();
  }

  /** A seed is a pull into the store that goes on giving. */
  async function seedImage(reference: ImageReference, context: PullContext): Promise<void> {
    const onReceipt = (receipt: Receipt): void => {
      talk.receipt(receipt);
      session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : receipt.image}\n`);
    };
    const request: PullRequest = {
      reference,
      ...(flags.platform === undefined ? {} : { platform: flags.platform }),
      hostPlatform: hostPlatform(),
      destination: { kind: 'store' },
      recordDigest: false,
      rules,
      onReceipt,
      seedMs: flags.durationMs,
    };
    await (raw.squashed === true ? pullSquashed : pull)(request, context, session.signal);
  }
}
