import { Option, type Command } from 'commander';
import { declareReportFlags, type RawReportFlags } from './report-flags.ts';

/** How long `quayctl security` waits by default: Clair may have to fetch and read all layers first. */
export const SECURITY_WAIT = '5m';

export interface RawSecurityFlags extends RawReportFlags {
  readonly torrentService?: string;
  readonly fixable?: boolean;
  readonly severity?: string;
  readonly sort: string;
  readonly failOn?: string;
  readonly json?: boolean;
  readonly sarif?: boolean;
  readonly platform?: string;
  readonly insecure?: boolean;
  readonly sendCredentials?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** Declares the flags of `quayctl security`. */
export function declareSecurityFlags(command: Command): Command {
  return declareReportFlags(command, SECURITY_WAIT)
    .addOption(
      new Option('--torrent-service <url>', 'asked first (default: the registry itself)').env(
        'QUAYCTL_TORRENT_SERVICE',
      ),
    )
    .option('--fixable', 'only what an upgrade mends; counts for --fail-on, too')
    .option('--severity <level>', 'only what is at least: negligible, low, medium, high, critical')
    .option('--sort <order>', 'packages by impact, count or severity', 'impact')
    .option('--fail-on <level>', 'exit code 7 where anything is at least this severe')
    .option('--json', 'one JSON object on stdout')
    .option('--sarif', 'a SARIF log on stdout, for code scanning')
    .option('--platform <os/arch>', "OS/ARCH[/VARIANT] (default: this machine's)")
    .option('--insecure', 'plain HTTP to the registry and the service (loopback may be HTTP without it)')
    .option('--send-credentials', "give the registry's password to a torrent service on another host")
    .option('--quiet', 'no talk on stderr, errors excepted')
    .option('--debug', 'protocol log and stack traces on stderr');
}
