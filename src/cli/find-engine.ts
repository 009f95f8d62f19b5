import { isQuayctlError } from '../base/errors.ts';
import type { EngineEntry } from '../engines/engine-entry.ts';
import type { Session } from './session.ts';

/** An engine on this machine answers within milliseconds. */
const ANSWER_MS = 3000;

/** The first engine that answers on this machine; undefined where none does. */
export async function findEngine(
  engines: readonly EngineEntry[],
  session: Session,
): Promise<EngineEntry | undefined> {
  for (const entry of engines) if (await answers(entry, session)) return entry;
  return undefined;
}

async function answers(entry: EngineEntry, session: Session): Promise<boolean> {
  try {
    const engine = await entry.open({ env: { ...session.env, HOME: session.home }, options: {} });
    await engine.platform(AbortSignal.any([session.signal, AbortSignal.timeout(ANSWER_MS)]));
    return true;
  } catch (error) {
    session.signal.throwIfAborted();
    const isAway = isQuayctlError(error, 'engine', 'interrupted', 'unsupported') || isTimeout(error);
    if (isAway) return false;
    throw error;
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
}
