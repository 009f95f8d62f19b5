import { QuayctlError } from '../base/errors.ts';
import { aciReference } from '../image/aci.ts';
import { formatAppcName, parseAppcName, type AppcName } from '../image/appc-name.ts';
import type { ImageReference } from '../image/reference.ts';
import type { AciEngineEntry } from '../engines/engine-entry.ts';
import type { AciContext, AciRequest } from '../pull/aci-request.ts';
import { pullAci, withVersion } from '../pull/pull-aci.ts';
import type { Receipt } from '../pull/receipt.ts';
import { locateAci } from './locate-aci.ts';
import { readTorrentFlags, type RawTorrentFlags } from './flags.ts';
import { startDeadline } from './deadline.ts';
import { tellHook } from './hook.ts';
import { openGate } from './open-gate.ts';
import { openServices } from './open-services.ts';
import { hostPlatform, rulesOf } from './with-contexts.ts';
import type { Session } from './session.ts';
import { openTalk } from './reporter.ts';
import { eachImage, namedImages } from './several.ts';

/** `quayctl rkt torrent pull`, and that of every engine of appc images. @throws QuayctlError */
export async function runAciPull(
  named: readonly string[],
  entry: AciEngineEntry,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const images = await namedImages(named, raw.from);
  await eachImage(images, raw.json === true, session, (image, own, isLast) =>
    run(image, 'engine', entry, isLast ? raw : { ...raw, seedAfter: '0' }, own),
  );
}

/** `quayctl rkt torrent seed`: nothing is put into the engine, nor is it needed. @throws QuayctlError */
export async function runAciSeed(
  images: readonly string[],
  entry: AciEngineEntry,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  for (const image of images) await run(image, 'store', entry, raw, session);
}

async function run(
  image: string,
  destination: AciRequest['destination'],
  entry: AciEngineEntry,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  const name = parseAppcName(image);
  const shown = formatAppcName(withVersion(name));
  const talk = await openTalk(raw, entry.title, session.terminal);
  const deadline = startDeadline(flags.timeoutMs, shown);
  const own: Session = { ...session, signal: AbortSignal.any([session.signal, deadline.signal]) };
  const onReceipt = async (receipt: Receipt): Promise<void> => {
    deadline.met();
    talk.end();
    if (destination === 'engine') talk.line(`Successfully pulled image ${shown}`);
    talk.receipt(receipt);
    session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : shown}\n`);
    await tellHook(raw.hook, receipt, talk, session);
  };
  const reference = raw.maxSeverity === undefined ? undefined : reportedName(name);
  const { gate, close } =
    reference === undefined ? NO_GATE : await openGate(reference, flags, raw, talk.listener, own);
  const engine = await entry.open({ env: session.env, options: raw });
  const request: AciRequest = {
    name,
    destination,
    gate,
    ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    hostPlatform: hostPlatform(),
    rules: rulesOf(flags),
    withSignature: engine.checksSignatures,
    onReceipt,
    seedMs: destination === 'engine' ? flags.seedAfterMs : flags.durationMs,
  };
  const services = await openServices(flags, talk.listener, own);
  try {
    const context: AciContext = {
      ...services,
      engine,
      locate: (wanted, signal) => locateAci(wanted, flags, services, own, signal),
    };
    await pullAci(request, context, own.signal);
  } catch (error) {
    deadline.explain(error);
  } finally {
    deadline.met();
    talk.end();
    await close();
    await services.close();
  }
}

const NO_GATE = { gate: undefined, close: () => Promise.resolve() };

/** The repository of the registry that the ACI is made of an image of. @throws QuayctlError `unsupported` */
function reportedName(name: AppcName): ImageReference {
  const reference = aciReference(name);
  if (reference !== undefined) return reference;
  const shown = formatAppcName(name);
  throw new QuayctlError('unsupported', `--max-severity: ${shown} names no image of a registry`);
}
