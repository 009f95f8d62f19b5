import { Option, type Command } from 'commander';
import { QuayctlError } from '../base/errors.ts';
import { parseDuration } from '../base/units.ts';
import { named } from './flags.ts';

/** Flags of every command that needs a security report, as commander hands them over. */
export interface RawReportFlags {
  readonly clair?: string;
  readonly clairKey?: string;
  readonly clairIssuer?: string;
  readonly securityWait?: string;
}

/** Quay's issuer, which Clair's own examples allow. */
export const DEFAULT_ISSUER = 'quay';

/** Clair's flags alone. */
function declareClairFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--clair <url>', 'a Clair of version 4, asked for security reports').env('QUAYCTL_CLAIR'),
    )
    .addOption(
      new Option('--clair-key <file>', "the key of its auth.psk, in base64, as in Clair's configuration").env(
        'QUAYCTL_CLAIR_KEY',
      ),
    )
    .option('--clair-issuer <name>', 'one of its auth.psk.iss', DEFAULT_ISSUER);
}

/** @param wait how long a report is waited for by default */
export function declareReportFlags(command: Command, wait: string): Command {
  return declareClairFlags(command).option(
    '--security-wait <duration>',
    'how long a security report is waited for',
    wait,
  );
}

/** @param fallback of the command, as it was declared */
export function securityWait({ securityWait: given }: RawReportFlags, fallback: string): number {
  const ms = named('--security-wait', given ?? fallback, parseDuration);
  if (ms >= 1000 && ms <= LONGEST_WAIT_MS) return ms;
  throw new QuayctlError('usage', '--security-wait: 1s to 1d is wanted');
}

/** Timers count in 31 bits. */
const LONGEST_WAIT_MS = 86_400_000;

/** Flags of `serve` about security reports, as commander hands them over. */
export interface RawNotifyFlags extends RawReportFlags {
  readonly notify?: string;
  readonly notifyKey?: string;
  readonly notifySeverity?: string;
  readonly notifyEvery?: string;
}

/** Declares the flags of `serve` about security reports. */
export function declareNotifyFlags(command: Command): Command {
  return declareClairFlags(command)
    .option('--notify <url>', 'webhook that is told when the report of an image changes')
    .option('--notify-key <file>', 'secret that signs what is sent (HMAC-SHA-256)')
    .option('--notify-severity <level>', 'mildest flaw that is news', 'high')
    .option('--notify-every <duration>', 'how often the report of each image is looked at again', '1h');
}
