import { buffer } from 'node:stream/consumers';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { Http } from '../http/http.ts';
import { digestOf, type Digest } from '../image/digest.ts';
import { MAX_CONFIG_BYTES, parseManifest, type ImageManifest } from '../image/manifest.ts';
import { parsePlatform, type Platform } from '../image/platform.ts';
import { formatReference, parseImageReference, type ImageReference } from '../image/reference.ts';
import { chooseManifest } from '../image/walk-index.ts';
import type { OpenRepository } from '../registry/open-repository.ts';
import { findReport } from '../registry/security/find-report.ts';
import { layerCommands } from '../security/history.ts';
import type { SecurityReport } from '../security/report.ts';
import { parseSeverity, type Severity } from '../security/severity.ts';
import { httpUrl, named } from './flags.ts';
import { hostPlatform } from './with-contexts.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import { securityWait } from './open-clair.ts';
import { openReports, type ReportPlaces } from './open-reports.ts';

import { SECURITY_WAIT, type RawSecurityFlags } from './security-flags.ts';
import type { Session } from './session.ts';
import { showReport, type ShowFlags } from './show-report.ts';

interface SecurityFlags extends ShowFlags, ReportPlaces {
  readonly platform: Platform;
  readonly waitMs: number;
}

/** `quayctl security IMAGE`. @throws QuayctlError; ends with exit code 7 for what `--fail-on` finds */
export async function runSecurity(image: string, raw: RawSecurityFlags, session: Session): Promise<void> {
  const flags = readFlags(raw);
  const reference = parseImageReference(image);
  const debug = (message: string): void => {
    if (raw.debug === true) session.terminal.err(`debug: ${redact(message)}\n`);
  };
  const http = new Http({ env: session.env, certsDirectory: CERTS_DIRECTORY, onExchange: debug });
  try {
    const { report, commands } = await ask(reference, flags, raw, { http, debug }, session);
    showReport({ reference, report, commands }, flags, raw, session);
  } finally {
    await http.close();
  }
}

function readFlags(raw: RawSecurityFlags): SecurityFlags {
  if (raw.json === true && raw.sarif === true) {
    throw new QuayctlError('usage', '--json and --sarif exclude each other');
  }
  const severity = (flag: string, text: string): Severity => named(flag, text, parseSeverity);
  const order = (['impact', 'count', 'severity'] as const).find((each) => each === raw.sort);
  if (order === undefined) throw new QuayctlError('usage', '--sort: expected impact, count or severity');
  return {
    filter: {
      fixableOnly: raw.fixable ?? false,
      atLeast: raw.severity === undefined ? 'Unknown' : severity('--severity', raw.severity),
    },
    failOn: raw.failOn === undefined ? undefined : severity('--fail-on', raw.failOn),
    order,
    platform: raw.platform === undefined ? hostPlatform() : named('--platform', raw.platform, parsePlatform),
    torrentService:
      raw.torrentService === undefined ? undefined : httpUrl('--torrent-service', raw.torrentService),
    insecure: raw.insecure ?? false,
    sendCredentials: raw.sendCredentials ?? false,
    waitMs: securityWait(raw, SECURITY_WAIT),
  };
}

async function ask(
  reference: ImageReference,
  flags: SecurityFlags,
  raw: RawSecurityFlags,
  { http, debug }: { readonly http: Http; readonly debug: (message: string) => void },
  session: Session,
): Promise<{ readonly report: SecurityReport; readonly commands: ReadonlyMap<Digest, string> }> {
  const { signal, terminal } = session;
  const say = (message: string): void => {
    if (raw.quiet !== true) terminal.err(`${redact(message)}\n`);
  };
  const warn = (message: string): void => say(`warning: ${message}`);
  const options = await openReports(reference, flags, raw, { http, say, warn, debug }, session);
  const { repository } = options;
  const { document, manifest } = await resolve(reference, flags.platform, repository, signal);
  const image = { image: formatReference(reference), digest: document.descriptor.digest, manifest };
  const [report, commands] = await Promise.all([
    findReport({ ...options, waitMs: flags.waitMs }, image, signal),
    commandsOf(repository, manifest, signal).catch((error: unknown) => {
      if (!isQuayctlError(error)) throw error;
      debug(error.message);
      return new Map<Digest, string>();
    }),
  ]);
  return { report, commands };
}

function resolve(
  reference: ImageReference,
  platform: Platform,
  repository: OpenRepository,
  signal: AbortSignal,
) {
  return chooseManifest(
    reference.digest ?? reference.tag ?? 'latest',
    () => platform,
    async (selector) => {
      const found = await repository.manifest(selector, signal);
      return { ...found, parsed: parseManifest(found.bytes, found.descriptor.mediaType) };
    },
  );
}

/** From the image's config, which says what made each layer. @throws QuayctlError where it cannot be had */
async function commandsOf(
  repository: OpenRepository,
  manifest: ImageManifest,
  signal: AbortSignal,
): Promise<ReadonlyMap<Digest, string>> {
  const { config } = manifest;
  if (config.size > MAX_CONFIG_BYTES) return new Map();
  const bytes = await buffer(repository.blob(config, 0, config.size, signal));
  if (digestOf(bytes) === config.digest) return layerCommands(bytes, manifest);
  throw new QuayctlError('verification', `the config of the image is not ${config.digest}`);
}
