import { formatAppcName, parseAppcName, splitAppcName, type AppcName } from '../image/appc-name.ts';
import { QuayctlError } from '../base/errors.ts';
import { openEngine } from '../engines/engines.ts';
import type { AciRequest, AciWorld } from '../pull/aci-request.ts';
import { pullAci, withVersion } from '../pull/pull-aci.ts';
import type { Receipt } from '../pull/receipt.ts';
import { aciAtService, discoverAci, type AciSource } from '../registry/aci-source.ts';
import { openRepository } from '../registry/open-repository.ts';
import { credentialForAci } from './credentials.ts';
import { readTorrentFlags, type RawTorrentFlags, type TorrentFlags } from './flags.ts';
import { hostPlatform, openCommons, rulesOf, type Commons } from './open-world.ts';
import type { Session } from './session.ts';
import { openTalk } from './talk.ts';

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
    const world: AciWorld = {
      ...commons,
      engine,
      locate: (wanted, signal) => locate(wanted, flags, commons, session, signal),
    };
    await pullAci(request, world, session.signal);
  } finally {
    talk.end();
    await commons.close();
  }
}

/** With `--torrent-service` that service is asked directly; else discovery says whom to ask. */
async function locate(
  name: AppcName,
  flags: TorrentFlags,
  { http, warn, listener }: Commons,
  session: Session,
  signal: AbortSignal,
): Promise<AciSource> {
  const { insecure, sendCredentials, torrentService: service } = flags;
  const found = new Map<string, ReturnType<typeof credentialForAci>>();
  // Each look at rkt's configuration is a run of rkt.
  const credential = (host: string): ReturnType<typeof credentialForAci> => {
    const known = found.get(host) ?? credentialForAci(host, session, warn);
    found.set(host, known);
    return known;
  };
  if (service === undefined) {
    const onDebug = (message: string): void => listener({ kind: 'debug', message });
    return discoverAci(name, { http, insecure, credential, onWarning: warn, onDebug }, signal);
  }
  const { host: registry, path } = splitAppcName(name);
  if (path === '') {
    throw new QuayctlError('usage', `${name.name} names no repository, which --torrent-service wants`);
  }
  const access = { registry, credential: await credential(registry), http, insecure, onWarning: warn };
  const repository = openRepository(access, path);
  return aciAtService(name, { http, repository, registry, service, insecure, sendCredentials });
}

function handedOn(options: string | undefined): string | undefined {
  if (options === undefined || /^[a-z]+(?:[,-][a-z]+)*$/.test(options)) return options;
  throw new QuayctlError('usage', '--insecure-options: words of rkt, as in image or http,ondisk');
}
