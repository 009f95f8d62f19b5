import { Http } from '../http/http.ts';
import type { ImageReference } from '../image/reference.ts';
import type { Listener } from '../pull/events.ts';
import type { Gate } from '../pull/gate.ts';
import { findReport } from '../registry/security/find-report.ts';
import { assertAllowed, gateWarning } from '../security/gate.ts';
import { parseSeverity } from '../security/severity.ts';
import { named } from './flags.ts';
import { securityWait } from './open-clair.ts';
import { openReports, type ReportPlaces } from './open-reports.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import { GATE_WAIT, type RawGateFlags } from './report-flags.ts';
import type { Session } from './session.ts';

export interface OpenGate {
  /** Undefined without `--max-severity`. */
  readonly gate: Gate | undefined;
  readonly close: () => Promise<void>;
}

/**
 * `--max-severity`: asks for the report of what is about to be delivered, and refuses it or lets it pass.
 * @throws QuayctlError `usage`, before anything is downloaded
 */
export async function openGate(
  { registry, repository }: Pick<ImageReference, 'registry' | 'repository'>,
  places: ReportPlaces,
  raw: RawGateFlags,
  listener: Listener,
  session: Session,
): Promise<OpenGate> {
  const { maxSeverity } = raw;
  if (maxSeverity === undefined) return { gate: undefined, close: () => Promise.resolve() };
  const allowed = named('--max-severity', maxSeverity, parseSeverity);
  const waitMs = securityWait(raw, GATE_WAIT);
  const debug = (message: string): void => listener({ kind: 'debug', message });
  const warn = (message: string): void => listener({ kind: 'warning', message });
  const say = (message: string): void => listener({ kind: 'security', message });
  const http = new Http({ env: session.env, certsDirectory: CERTS_DIRECTORY, onExchange: debug });
  const talk = { http, say, warn, debug };
  try {
    const options = await openReports({ registry, repository }, places, raw, talk, session);
    const gate: Gate = async ({ name, digest, manifest }, signal) => {
      const report = await findReport({ ...options, waitMs }, { image: name, digest, manifest }, signal);
      const { kind, host } = report.source;
      debug(`${kind} ${host} has the security report of ${digest}`);
      assertAllowed(report, allowed, name);
      const warning = gateWarning(report);
      if (warning !== undefined) warn(warning);
    };
    return { gate, close: () => http.close() };
  } catch (error) {
    await http.close();
    throw error;
  }
}
