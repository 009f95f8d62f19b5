import { parseImageReference } from '../image/reference.ts';
import { QuayctlError } from '../base/errors.ts';
import { pull } from '../pull/pull.ts';
import type { Receipt } from '../pull/receipt.ts';
import type { Destination, PullRequest } from '../pull/request.ts';
import { pullSquashed } from '../pull/squashed.ts';
import { readTorrentFlags, type RawTorrentFlags, type TorrentFlags } from './flags.ts';
import { hostPlatform, inWorlds, rulesOf } from './open-world.ts';
import type { Session } from './session.ts';
import { openTalk } from './reporter.ts';

/** `quayctl docker torrent pull` and `quayctl torrent pull`. @throws QuayctlError */
export async function runPull(
  image: string,
  engine: 'docker' | 'none',
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  const squashed = raw.squashed === true;
  const reference = parseImageReference(image);
  const talk = await openTalk(raw, engine, session.terminal);
  const onReceipt = (receipt: Receipt): void => {
    talk.end();
    talk.line(`Successfully pulled ${squashed ? 'squashed ' : ''}image ${receipt.image}`);
    talk.receipt(receipt);
    session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : receipt.image}\n`);
  };
  const request: PullRequest = {
    reference,
    ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    hostPlatform: hostPlatform(),
    destination: destinationOf(flags, engine),
    recordDigest: flags.recordDigest,
    rules: rulesOf(flags),
    onReceipt,
    seedMs: flags.seedAfterMs,
  };
  try {
    await inWorlds(flags, engine, talk.listener, session, async (worlds) => {
      await (squashed ? pullSquashed : pull)(request, await worlds.of(reference), session.signal);
    });
  } finally {
    talk.end();
  }
}

function destinationOf({ output }: TorrentFlags, engine: 'docker' | 'none'): Destination {
  if (engine === 'docker') return { kind: 'engine' };
  if (output === undefined) return { kind: 'store' };
  if (output === '') throw new QuayctlError('usage', '--output: a path is wanted');
  return output.endsWith('.tar') ? { kind: 'archive', path: output } : { kind: 'layout', path: output };
}
