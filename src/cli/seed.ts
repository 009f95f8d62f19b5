import { parseImageReference } from '../image/reference.ts';
import { pull } from '../pull/pull.ts';
import type { Receipt } from '../pull/receipt.ts';
import { seedStore } from '../pull/seed-store.ts';
import { readTorrentFlags, type RawTorrentFlags } from './flags.ts';
import { hostPlatform, openWorlds, rulesOf } from './open-world.ts';
import type { Session } from './session.ts';
import { openTalk } from './talk.ts';

/**
 * `quayctl docker torrent seed` and `quayctl torrent seed`: what the store lacks is downloaded (nothing is loaded into
 * an engine), then everything is given to others. With no image: all that the store holds, and what other quayctl
 * processes add to it. @throws QuayctlError
 */
export async function runSeed(
  images: readonly string[],
  engine: 'docker' | 'none',
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  const references = images.map(parseImageReference);
  const talk = await openTalk(raw, engine, session.terminal);
  const rules = rulesOf(flags);
  try {
    await using worlds = await openWorlds(flags, engine, talk.listener, session);
    if (references.length === 0) {
      await seedStore(
        { worlds, rules, durationMs: flags.durationMs, listener: talk.listener },
        session.signal,
      );
      return;
    }
    await Promise.all(
      references.map(async (reference) => {
        const onReceipt = (receipt: Receipt): void => {
          talk.receipt(receipt);
          session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : receipt.image}\n`);
        };
        const request = {
          reference,
          ...(flags.platform === undefined ? {} : { platform: flags.platform }),
          hostPlatform: hostPlatform(),
          destination: { kind: 'store' as const },
          recordDigest: false,
          rules,
          onReceipt,
          seedMs: flags.durationMs,
        };
        await pull(request, await worlds.of(reference), session.signal);
      }),
    );
  } finally {
    talk.end();
  }
}
