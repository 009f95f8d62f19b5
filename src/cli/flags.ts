import { isIP } from 'node:net';
import { Option, type Command } from 'commander';
import { QuayctlError } from '../base/errors.ts';
import { parseRateTimetable, type RateTimetable } from '../base/rate-timetable.ts';
import { parseDuration } from '../base/units.ts';
import type { EngineEntry } from '../engines/engine-entry.ts';
import { parsePlatform, type Platform } from '../image/platform.ts';
import { LOG_FORMAT_HELP } from './log-format.ts';
import { declareGateFlags, type RawGateFlags } from './report-flags.ts';

/** A torrent command's flags as commander hands them over: strings, unread, and the options of the engine's own. */
export interface RawTorrentFlags extends Readonly<Record<string, unknown>>, RawGateFlags {
  readonly squashed?: boolean;
  readonly duration?: string;
  readonly seedAfter?: string;
  readonly output?: string;
  /** `pull` only: a file that names images. */
  readonly from?: string;
  readonly torrentService?: string;
  readonly tracker?: readonly string[];
  readonly skipWebSeed?: boolean;
  readonly waitForPeers: string;
  readonly insecure?: boolean;
  readonly sendCredentials?: boolean;
  readonly recordDigest?: boolean;
  readonly offlineOk?: boolean;
  readonly platform?: string;
  readonly lowerPort: string;
  readonly upperPort: string;
  readonly announceIp?: string;
  readonly downloadRate: string;
  readonly uploadRate: string;
  readonly connectionsPerSecond: string;
  readonly encryptionMode: string;
  readonly report?: boolean;
  /** Of `seed`. */
  readonly metricsListen?: string;
  readonly adminTokenFile?: string;
  readonly store?: string;
  readonly localIp?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress?: boolean;
  readonly debug?: boolean;
  /** Of `pull`, as the three that follow. */
  readonly timeout?: string;
  readonly retries?: string;
  readonly hook?: string;
  /** Of `seed`. */
  readonly logFormat?: string;
}

/** The same, read and checked: milliseconds, bytes, numbers. */
export interface TorrentFlags {
  readonly durationMs: number | undefined;
  readonly seedAfterMs: number;
  /** Undefined: no limit. */
  readonly timeoutMs: number | undefined;
  /** Undefined: as many as each kind of question has by default. */
  readonly retries: number | undefined;
  readonly output: string | undefined;
  readonly torrentService: URL | undefined;
  readonly trackers: readonly string[];
  readonly skipWebSeed: boolean;
  readonly waitForPeersMs: number;
  readonly insecure: boolean;
  readonly sendCredentials: boolean;
  readonly recordDigest: boolean;
  readonly offlineOk: boolean;
  readonly platform: Platform | undefined;
  readonly ports: { readonly lower: number; readonly upper: number; readonly given: boolean };
  readonly announceIp: string | undefined;
  readonly downloadRate: RateTimetable;
  readonly uploadRate: RateTimetable;
  readonly connectionsPerSecond: number;
  readonly encryptionMode: 0 | 1 | 2;
  /** The torrent service is told where the bytes of each layer came from. */
  readonly report: boolean;
  readonly store: string | undefined;
}

const DEFAULT_LOWER_PORT = '6881';
const DEFAULT_UPPER_PORT = '6889';
const MOST_RETRIES = 100;
/** The longest delay of a timer is a little more. */
const LONGEST_TIMEOUT_MS = 24 * 86_400_000;

/**
 * Declares the flags of `torrent pull` and `torrent seed`, with the help that `--help` prints.
 * @param engine undefined for the commands that pull into the store alone
 */
export function declareTorrentFlags(
  command: Command,
  verb: 'pull' | 'seed',
  engine: EngineEntry | undefined,
): Command {
  if (verb === 'seed' && engine?.imageKind !== 'appc')
    command
      .option(
        '--metrics-listen <host:port>',
        'where Prometheus reads /metrics of this node; also unix:PATH (default: nowhere)',
      )
      .option(
        '--admin-token-file <file>',
        'with --metrics-listen: who shows its content as a Bearer token may read',
      );
  if (verb === 'seed')
    command
      .option('--duration <duration>', 'how long to seed: 90s, 10m, 1h30m (default: forever)')
      .option('--log-format <format>', LOG_FORMAT_HELP, 'text');
  else command.option('--seed-after <duration>', 'keep seeding so long after the image is there', '0');
  if (verb === 'pull') {
    command
      .option('--from <file>', 'pull the images that this file names, one a line; - for stdin')
      .option('--timeout <duration>', 'give up an image that is not there by then (default: never)')
      .option(
        '--retries <n>',
        'how often what fails for a moment is asked again, of registry and service (default: 3; broken transfers: 4)',
      )
      .option(
        '--hook <program>',
        'run it for each image that is there; QUAYCTL_HOOK_IMAGE and others in its environment tell which',
      );
    declareGateFlags(command);
  }
  if (verb === 'pull' && engine === undefined) {
    command.option(
      '--output <path>',
      'write an OCI layout (a directory) or an OCI archive (PATH ends in .tar)',
    );
  }
  for (const { flags, help, verbs } of engine?.options ?? []) {
    if (verbs.includes(verb)) command.option(flags, help);
  }
  const home = engine?.imageKind === 'appc' ? 'found by appc discovery' : 'the registry itself';
  command
    .addOption(
      new Option('--torrent-service <url>', `where torrents are asked for (default: ${home})`).env(
        'QUAYCTL_TORRENT_SERVICE',
      ),
    )
    .option('--tracker <url>', "override the torrent's trackers; repeatable, comma-separated", collect)
    .option('--skip-web-seed', 'blobs only from peers, never from the registry')
    .option(
      '--wait-for-peers <duration>',
      'with --skip-web-seed: how long to wait for a piece nobody has',
      '30s',
    )
    .option('--insecure', 'plain HTTP to the registry and the service (loopback may be HTTP without it)')
    .option('--send-credentials', "give the registry's password to a torrent service on another host")
    .option(
      '--offline-ok',
      'when the registry does not answer: manifest and torrent of the store, else of the service',
    )
    .option('--platform <os/arch>', "OS/ARCH[/VARIANT] (default: the engine's, else this machine's)");
  return declareSwarmFlags(command).addOption(
    new Option('--local-ip <ip>', 'kept for old scripts; without effect').hideHelp(),
  );
}

/** How this node takes part in swarms, and where it keeps blobs. */
export function declareSwarmFlags(command: Command): Command {
  return command
    .option('--lower-port <port>', 'lowest port on which peers are accepted', DEFAULT_LOWER_PORT)
    .option('--upper-port <port>', 'highest port on which peers are accepted', DEFAULT_UPPER_PORT)
    .option('--announce-ip <ip>', 'the address under which peers reach this node')
    .option(
      '--download-rate <rate>',
      'over all torrents, the registry included: 500 (kB/s), 10M, off, or by the hour: "08:00,512k 19:00,off"',
      '0',
    )
    .option('--upload-rate <rate>', 'over all torrents, in the same forms; 0: unlimited', '0')
    .option('--connections-per-second <n>', 'connection attempts per second', '200')
    .option('--no-report', 'do not tell the torrent service where the bytes of each layer came from')
    .option(
      '--encryption-mode <mode>',
      'other clients: 0 encrypted only, 1 plaintext if they come so, 2 dialled in it',
      '1',
    )
    .addOption(
      new Option('--store <dir>', 'the local store (default: $XDG_CACHE_HOME/quayctl)').env('QUAYCTL_STORE'),
    );
}

/** Output flags, shared by every command that talks. */
export function declareOutputFlags(command: Command): Command {
  return command
    .option('--json', 'one JSON object on stdout instead of prose')
    .option('--quiet', 'no talk on stderr, errors excepted')
    .option('--no-progress', 'plain lines instead of bars')
    .option('--debug', 'protocol log and stack traces on stderr');
}

/** @throws QuayctlError `usage`, naming the flag and the accepted form */
export function readTorrentFlags(raw: RawTorrentFlags): TorrentFlags {
  const lower = integer('--lower-port', raw.lowerPort, 1, 65_535);
  const upper = integer('--upper-port', raw.upperPort, 1, 65_535);
  if (lower > upper) {
    throw new QuayctlError('usage', `--lower-port ${lower} lies above --upper-port ${upper}`);
  }
  return {
    durationMs: raw.duration === undefined ? undefined : named('--duration', raw.duration, parseDuration),
    seedAfterMs: named('--seed-after', raw.seedAfter ?? '0', parseDuration),
    timeoutMs: raw.timeout === undefined ? undefined : timeout(raw.timeout),
    retries: raw.retries === undefined ? undefined : integer('--retries', raw.retries, 0, MOST_RETRIES),
    output: raw.output,
    torrentService:
      raw.torrentService === undefined ? undefined : httpUrl('--torrent-service', raw.torrentService),
    trackers: (raw.tracker ?? []).map(trackerUrl),
    skipWebSeed: raw.skipWebSeed ?? false,
    waitForPeersMs: named('--wait-for-peers', raw.waitForPeers, parseDuration),
    insecure: raw.insecure ?? false,
    sendCredentials: raw.sendCredentials ?? false,
    recordDigest: raw.recordDigest ?? false,
    offlineOk: raw.offlineOk ?? false,
    platform: raw.platform === undefined ? undefined : named('--platform', raw.platform, parsePlatform),
    ports: {
      lower,
      upper,
      given: raw.lowerPort !== DEFAULT_LOWER_PORT || raw.upperPort !== DEFAULT_UPPER_PORT,
    },
    announceIp: raw.announceIp === undefined ? undefined : address('--announce-ip', raw.announceIp),
    downloadRate: named('--download-rate', raw.downloadRate, parseRateTimetable),
    uploadRate: named('--upload-rate', raw.uploadRate, parseRateTimetable),
    connectionsPerSecond: integer('--connections-per-second', raw.connectionsPerSecond, 1, 100_000),
    encryptionMode: encryptionMode(raw.encryptionMode),
    report: raw.report ?? true,
    store: raw.store,
  };
}

/** @throws QuayctlError `usage` for no time at all: that would end every pull */
function timeout(text: string): number {
  const ms = named('--timeout', text, parseDuration);
  if (ms > 0 && ms <= LONGEST_TIMEOUT_MS) return ms;
  throw new QuayctlError('usage', '--timeout: expected 1ms to 24d');
}

/** Parses with the flag's name in front of whatever is wrong. @throws QuayctlError `usage` */
export function named<T>(flag: string, value: string, parse: (text: string) => T): T {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof QuayctlError)) throw error;
    throw new QuayctlError('usage', `${flag}: ${error.message}`, { cause: error.cause, hint: error.hint });
  }
}

/** An http or https URL without query, fragment or password. @throws QuayctlError `usage` */
export function httpUrl(flag: string, value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new QuayctlError('usage', `${flag}: not an http or https URL: ${JSON.stringify(value)}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new QuayctlError('usage', `${flag}: a URL must not hold a password`, {
      hint: 'quayctl login REGISTRY keeps it in the keychain',
    });
  }
  if (url.search !== '' || url.hash !== '') {
    throw new QuayctlError('usage', `${flag}: expected a URL without query and fragment`);
  }
  return url;
}

/** `HOST:PORT`, IPv6 in brackets; no host for every address. @throws QuayctlError `usage` */
export function hostAndPort(flag: string, listen: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]*)):(\d{1,5})$/.exec(listen) ?? [];
  const number = Number(port);
  if (!(number <= 65_535)) {
    throw new QuayctlError('usage', `${flag}: expected HOST:PORT, got ${JSON.stringify(listen)}`);
  }
  return { host: bracketed ?? plain ?? '', port: number };
}

function trackerUrl(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^(?:https?|udp):$/.test(url.protocol)) {
    throw new QuayctlError('usage', `--tracker: not an http, https or udp URL: ${JSON.stringify(value)}`);
  }
  return value;
}

function integer(flag: string, value: string, least: number, most: number): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw new QuayctlError(
      'usage',
      `${flag}: expected a whole number from ${least} to ${most}, got ${value}`,
    );
  }
  return number;
}

function address(flag: string, value: string): string {
  if (isIP(value) === 0)
    throw new QuayctlError('usage', `${flag}: not an IP address: ${JSON.stringify(value)}`);
  return value;
}

function encryptionMode(value: string): 0 | 1 | 2 {
  if (value === '0') return 0;
  if (value === '1') return 1;
  if (value === '2') return 2;
  throw new QuayctlError(
    'usage',
    `--encryption-mode: expected 0 (encrypted only), 1 (plaintext for those who come so) or 2 (plaintext), got ${value}`,
  );
}

/** Gathers the values of a flag that may be repeated, and may hold several with commas between them. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...value.split(',').filter((part) => part !== '')];
}
