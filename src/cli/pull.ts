import type { OciEngineEntry } from '../engines/engine-entry.ts';
import { parseImageReference } from '../image/reference.ts';
import { QuayctlError } from '../base/errors.ts';
import { pull } from '../pull/pull.ts';
import type { PullEvent } from '../pull/events.ts';
import type { Receipt } from '../pull/receipt.ts';
import type { Destination, PullRequest } from '../pull/request.ts';
import { pullSquashed } from '../pull/squashed.ts';
import { becomeOwnerOf } from './become-owner.ts';
import { readTorrentFlags, type RawTorrentFlags, type TorrentFlags } from './flags.ts';
import { startDeadline } from './deadline.ts';
import { tellHook } from './hook.ts';
import { openGate } from './open-gate.ts';
import { hostPlatform, withContexts, openEngine, rulesOf } from './with-contexts.ts';
import type { Session } from './session.ts';
import { storeDirectory } from './store-directory.ts';
import { openTalk } from './reporter.ts';
import { eachImage, namedImages } from './several.ts';
import type { PullTrace } from './trace-pull.ts';

const TRACE_VARIABLES = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];

/**
 * `quayctl ENGINE torrent pull`, and `quayctl torrent pull` without an engine. With several images `--output` is a
 * directory, and `--seed-after` begins after the last. @throws QuayctlError
 */
export async function runPull(
  named: readonly string[],
  engine: OciEngineEntry | undefined,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const images = await namedImages(named, raw.from);
  if (images.length > 1 && raw.output?.endsWith('.tar') === true)
    throw new QuayctlError('usage', '--output: several images go into a directory, not into one archive');
  await eachImage(images, raw.json === true, session, (image, own, isLast) =>
    pullOne(image, engine, isLast ? raw : { ...raw, seedAfter: '0' }, own),
  );
}

async function pullOne(
  image: string,
  engine: OciEngineEntry | undefined,
  raw: RawTorrentFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags(raw);
  // Without an engine and a file to write, nothing but the store is changed.
  if (engine === undefined && raw.output === undefined)
    await becomeOwnerOf(storeDirectory(flags.store, session));
  const squashed = raw.squashed === true;
  const reference = parseImageReference(image);
  const talk = await openTalk(raw, engine?.title, session.terminal);
  const deadline = startDeadline(flags.timeoutMs, image);
  const own: Session = { ...session, signal: AbortSignal.any([session.signal, deadline.signal]) };
  const onReceipt = async (receipt: Receipt): Promise<void> => {
    deadline.met();
    talk.end();
    talk.line(`Successfully pulled ${squashed ? 'squashed ' : ''}image ${receipt.image}`);
    talk.receipt(receipt);
    session.terminal.out(`${raw.json === true ? JSON.stringify(receipt) : receipt.image}\n`);
    await tellHook(raw.hook, receipt, talk, session);
  };
  const trace = await openTrace(image, session);
  const listener = (event: PullEvent): void => {
    trace?.listener(event);
    talk.listener(event);
  };
  const { gate, close } = await openGate(reference, flags, raw, talk.listener, own);
  const request: PullRequest = {
    reference,
    gate,
    ...(flags.platform === undefined ? {} : { platform: flags.platform }),
    hostPlatform: hostPlatform(),
    destination: destinationOf(flags, engine),
    recordDigest: flags.recordDigest,
    rules: rulesOf(flags),
    onReceipt,
    seedMs: flags.seedAfterMs,
  };
  try {
    await withContexts(flags, await openEngine(engine, raw, own), listener, own, async (contexts) => {
      const pulled = (squashed ? pullSquashed : pull)(
        trace === undefined ? request : { ...request, onReceipt: trace.until(request.onReceipt) },
        await contexts.of(reference),
        own.signal,
      );
      await (trace === undefined ? pulled : trace.around(pulled, contexts.http));
    });
  } catch (error) {
    deadline.explain(error);
  } finally {
    deadline.met();
    talk.end();
    await close();
  }
}

/** OpenTelemetry is loaded where its variables ask for it. */
async function openTrace(image: string, session: Session): Promise<PullTrace | undefined> {
  const { env, version } = session;
  if (!TRACE_VARIABLES.some((name) => (env[name] ?? '') !== '')) return undefined;
  const { openPullTrace } = await import('./trace-pull.ts');
  return openPullTrace(image, { env, version });
}

function destinationOf({ output }: TorrentFlags, engine: OciEngineEntry | undefined): Destination {
  if (engine !== undefined) return { kind: 'engine' };
  if (output === undefined) return { kind: 'store' };
  if (output === '') throw new QuayctlError('usage', '--output: expected a path');
  return output.endsWith('.tar') ? { kind: 'archive', path: output } : { kind: 'layout', path: output };
}
