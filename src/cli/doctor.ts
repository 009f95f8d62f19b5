import { existsSync } from 'node:fs';
import type { Finding, Report, Status } from '../doctor/finding.ts';
import { examineImage, examineMachine } from '../doctor/doctor.ts';
import type { ExaminedImage, ExaminedMachine } from '../doctor/examined.ts';
import { ENGINES } from '../engines/engines.ts';
import { Http } from '../http/http.ts';
import { parseImageReference } from '../image/reference.ts';
import { openRepository } from '../registry/open-repository.ts';
import { openTorrentService } from '../registry/open-torrent-service.ts';
import { openStore } from '../store/open-store.ts';
import type { NodeKey } from '../swarm/admission/node-key.ts';
import type { SwarmClient } from '../swarm/swarm-client.ts';
import { credentialFor } from './credentials.ts';
import { readTorrentFlags, type RawTorrentFlags, type TorrentFlags } from './flags.ts';
import { openSwarm } from './open-services.ts';
import { openNodeKey } from './node-key.ts';
import { hostPlatform } from './with-contexts.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import { createTimetableLimiter } from '../base/rate-limiter.ts';
import type { Session } from './session.ts';
import { ownStoreDirectory, storeDirectory } from './store-directory.ts';

/** Where engines are told which mirror to ask: those of the system alone. */
const ENGINE_FILES: ExaminedMachine['engineFiles'] = {
  certsDirectories: ['/etc/containerd/certs.d', CERTS_DIRECTORY],
  registriesDirectories: ['/etc/containers/registries.conf.d'],
};

/** `quayctl doctor`'s flags as commander hands them over. */
export interface RawDoctorFlags extends RawTorrentFlags {
  /** False for `--no-speed`. */
  readonly speed?: boolean;
}

/**
 * `quayctl doctor [IMAGE]`: a line for each thing that a pull depends on. Ends with 1 where one of them has failed.
 * @throws QuayctlError `usage`
 */
export async function runDoctor(
  image: string | undefined,
  raw: RawDoctorFlags,
  session: Session,
): Promise<void> {
  const flags = readTorrentFlags({ ...raw, waitForPeers: '0' });
  const reference = image === undefined ? undefined : parseImageReference(image);
  const { terminal, signal, env } = session;
  const findings: Finding[] = [];
  const report: Report = (check, status, message, hint) => {
    const finding = { check, status, message, ...(hint === undefined ? {} : { hint }) };
    findings.push(finding);
    if (raw.json !== true) terminal.out(lineOf(finding));
  };
  const debug = (line: string): void => {
    if (raw.debug === true) terminal.err(`debug: ${line}\n`);
  };
  const http = new Http({ env, certsDirectory: CERTS_DIRECTORY, onExchange: debug });
  let swarm: Promise<SwarmClient> | undefined;
  let key: Promise<NodeKey> | undefined;
  // One for all: announce tokens are bound to it.
  const nodeKey = (): Promise<NodeKey> => (key ??= openNodeKey(session, debug));
  const machine = examinedMachine(flags, http, session);
  try {
    if (reference === undefined) await examineMachine(machine, report, signal);
    else {
      const open = (): Promise<SwarmClient> => (swarm ??= openDoctorSwarm(flags, http, nodeKey, debug));
      const examined = await examinedImage(
        reference,
        flags,
        machine,
        raw.speed !== false,
        { open, nodeKey },
        session,
      );
      await examineImage(examined, report, signal);
    }
  } finally {
    await (await swarm?.catch(() => undefined))?.close();
    await http.close();
  }
  const exitCode = findings.some(({ status }) => status === 'failed') ? 1 : 0;
  if (raw.json === true) {
    const about = image === undefined ? {} : { image };
    terminal.out(`${JSON.stringify({ ...about, checks: findings, exitCode })}\n`);
  }
  session.exitWith(exitCode);
}

const STATUS_WIDTH = 'skipped'.length + 2;
const CHECK_WIDTH = 'permission'.length + 2;

function lineOf({ status, check, message, hint }: Finding): string {
  const indent = ' '.repeat(STATUS_WIDTH + CHECK_WIDTH);
  const shown = `${(status satisfies Status).padEnd(STATUS_WIDTH)}${check.padEnd(CHECK_WIDTH)}${message}\n`;
  return hint === undefined ? shown : `${shown}${indent}hint: ${hint}\n`;
}

function examinedMachine(flags: TorrentFlags, http: Http, session: Session): ExaminedMachine {
  const storePath = storeDirectory(flags.store, session);
  return {
    http,
    service: flags.torrentService,
    engines: ENGINES,
    engineSettings: { env: { ...session.env, HOME: session.home }, options: {} },
    engineFiles: ENGINE_FILES,
    storePath,
    openStore: async () =>
      existsSync(storePath) ? openStore(await ownStoreDirectory(flags.store, session)) : undefined,
  };
}

async function examinedImage(
  reference: ExaminedImage['reference'],
  flags: TorrentFlags,
  machine: ExaminedMachine,
  measures: boolean,
  { open: swarm, nodeKey }: { open: ExaminedImage['swarm']; nodeKey: () => Promise<NodeKey> },
  session: Session,
): Promise<ExaminedImage> {
  const credentialWarnings: string[] = [];
  const warn = (message: string): void => void credentialWarnings.push(message);
  const credential = await credentialFor(reference, session, warn);
  const { http } = machine;
  const { registry, repository: name } = reference;
  const { insecure, sendCredentials, torrentService: service, ports } = flags;
  const access = { registry, credential, http, insecure, onWarning: warn };
  const repository = openRepository(access, name);
  const torrents = openTorrentService({
    ...{ http, repository, registry, name, service, insecure, sendCredentials },
    // What is remembered of a host is no answer of today.
    hostsWithoutTorrents: { isSilent: async () => false, remember: async () => undefined },
    nodeKey: async () => (await nodeKey()).thumbprint,
  });
  return {
    ...machine,
    ...{ reference, credential, credentialWarnings, repository, torrents, measures, swarm, ports },
    platform: Promise.resolve(flags.platform ?? hostPlatform()),
  };
}

function openDoctorSwarm(
  flags: TorrentFlags,
  http: Http,
  nodeKey: () => Promise<NodeKey>,
  debug: (line: string) => void,
): Promise<SwarmClient> {
  const limiters = {
    downloadLimiter: createTimetableLimiter(flags.downloadRate),
    uploadLimiter: createTimetableLimiter(flags.uploadRate),
  };
  return openSwarm(flags, { http, ...limiters }, nodeKey, ({ kind, ...event }) => {
    if (kind === 'debug' || kind === 'warning') debug((event as { message: string }).message);
  });
}
