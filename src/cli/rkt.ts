import { formatAppcName, parseAppcName } from '../image/appc-name.ts';
import { QuayctlError } from '../base/errors.ts';
import { openEngine } from '../engines/engines.ts';
import type { AciRequest, AciContext } from '../pull/aci-request.ts';
import { pullAci, withVersion } from '../pull/pull-aci.ts';
import type { Receipt } from '../pull/receipt.ts';
import { locateAci } from './locate-aci.ts';
import { readTorrentFlags, type RawTorrentFlags } from './flags.ts';
import { openCommons } from './open-commons.ts';
import { hostPlatform, rulesOf } from './open-world.ts';
import type { Session } from './session.ts';
import { openTalk } from './reporter.ts';

/** With one of these rkt looks at no signature (`rkt help fetch`, --insecure-options). */
const UNSIGNED = ['image', 'all', 'all-fetch'];

/** `quayctl rkt torrent pull`. @throws QuayctlError */
export function runRktPull(image: string, raw: RawTorrentFlags, session: Session): Promise<void> {
  return run(image, 'engine', raw, session);
}

/** `quayctl rkt torrent seed`: nothing is put into rkt, nor is rkt needed. @throws QuayctlError */
export function runRktSeed(image: string, raw: RawTorrentFlags, session: Session): Promise<void> {
  return run(image, 'store', raw, session);
}

async function run(
  image: string,
  destination: AciRequest['destination'],
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  const name = parseAppcName(image);
  const insecureOptions = handedOn(raw.insecureOptions);
  const shown = formatAppcName(withVersion(name));
  const talk = await openTalk(raw, 'rkt', session.terminal);
  const onReceipt = (receipt: Receipt): void => {
    talk.end();
    if (destination === 'engine') talk.line(`Successfully pulled image ${shown}`);
    talk.receipt(receipt);
    session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : shown}\n`);
  };
  const request: AciRequest = {
    name,
    destination,
    ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    hostPlatform: hostPlatform(),
    rules: rulesOf(flags),
    withSignature: !insecureOptions?.split(',').some((option) => UNSIGNED.includes(option)),
    onReceipt,
    seedMs: destination === 'engine' ? flags.seedAfterMs : flags.durationMs,
  };
  const commons = await openCommons(flags, talk.listener, session);
  try {
    const engine = await openEngine('rkt', { env: session.env, insecureOptions });
    const world: AciContext = {
      ...commons,
      engine,
      locate: (wanted, signal) => locateAci(wanted, flags, commons, session, signal),
    };
    await pullAci(request, world, session.signal);
  } finally {
    talk.end();
    await commons.close();
  }
}

function handedOn(options: string | undefined): string | undefined {
  if (options === undefined || /^[a-z]+(?:[,-][a-z]+)*$/.test(options)) return options;
  throw new QuayctlError('usage', '--insecure-options: words of rkt, as in image or http,ondisk');
}
