import { Option, type Command } from 'commander';

/** Flags of every command that needs a security report, as commander hands them over. */
export interface RawReportFlags {
  readonly clair?: string;
  readonly clairKey?: string;
  readonly clairIssuer?: string;
  readonly securityWait?: string;
}

/** Flags of pulls that are gated, as commander hands them over. */
export interface RawGateFlags extends RawReportFlags {
  readonly maxSeverity?: string;
}

/** A gate waits less than `quayctl security`: somebody waits for the image. */
export const GATE_WAIT = '30s';

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

/** Declares the gate of a pull. */
export function declareGateFlags(command: Command): Command {
  command.option(
    '--max-severity <level>',
    'the worst flaw that is let in: an image with a worse one is not loaded, and the exit code is 7',
  );
  return declareReportFlags(command, GATE_WAIT);
}

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
