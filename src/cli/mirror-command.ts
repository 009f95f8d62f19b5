import { Option, type Command } from 'commander';
import { collect, declareSwarmFlags } from './flags.ts';
import type { InstallFlags, UninstallFlags } from './mirror-install.ts';
import type { ControlFlags } from './mirror-status.ts';
import { LOG_FORMAT_HELP } from './log-format.ts';
import type { RawMirrorFlags } from './mirror.ts';
import type { Session } from './session.ts';

const LISTEN = '127.0.0.1:7071';

/** Declares `quayctl mirror` and what belongs to it. */
export function addMirror(program: Command, session: Session): void {
  const mirror = program
    .command('mirror')
    .description("a registry on loopback for this machine's engines, whose bytes come through the swarm")
    .option(
      '--registry <host[=url]>',
      'a registry to be mirrored, and its torrent service; repeatable and comma-separated (required)',
      collect,
    )
    .addOption(
      new Option('--torrent-service <url>', 'where torrents are asked for').env('QUAYCTL_TORRENT_SERVICE'),
    )
    .option('--listen <host:port>', 'where it listens, on loopback', LISTEN)
    .option('--stall <duration>', 'longest silence towards an engine while any source has a byte', '10s')
    .option(
      '--permission-grace <duration>',
      'how long a granted permission serves while the registry does not answer',
      '10m',
    )
    .option(
      '--node-auth <file>',
      "what this node may pull, in the form of Docker's config.json, for Docker 28 and newer, which shows a mirror no login",
    )
    .option(
      '--cache-size <size>',
      "the store's limit; what was used longest ago goes first (default: what it has, else a tenth of the disk, at most 20Gi)",
    )
    .option(
      '--content-store <dir>',
      "where an engine keeps blobs by digest: what both hold is one file, for root; repeatable, or none (default: containerd's, Docker's and k3s')",
      collect,
    )
    .option(
      '--install <engines>',
      'write the settings of these engines once the port answers, as install does; comma-separated',
      collect,
    )
    .option('--install-root <dir>', "the host's root directory, from inside of a container", '/')
    .option(
      '--control <path>',
      'the socket for status and preheat, for this user and root (default: /run/quayctl/mirror.sock)',
    )
    .option('--insecure', 'plain HTTP to the registries and the service (loopback may be HTTP without it)')
    .option('--log-format <format>', LOG_FORMAT_HELP, 'text')
    .option(
      '--admin-listen <host:port>',
      'where the operator looks at it, and reads /metrics; also unix:PATH, or none (default: 127.0.0.1:7073)',
    )
    .option(
      '--admin-token-file <file>',
      'who shows its content as a Bearer token, or as a password, is the operator',
    )
    .option('--debug', 'every request and the protocol log on stderr');
  declareIdentity(mirror);
  declareSwarmFlags(mirror).action(async (flags: RawMirrorFlags) => {
    const { runMirror } = await import('./mirror.ts');
    await runMirror(flags, session);
  });
  addInstall(mirror, session);
  addControl(mirror, session);
}

function addInstall(mirror: Command, session: Session): void {
  const install = mirror
    .command('install')
    .description('write the settings by which engines ask the mirror; without an engine: those that are here')
    .option('--containerd', 'hosts.toml (containerd, kubelet)')
    .option('--docker', 'hosts.toml for Docker 28 and newer with the containerd store, else daemon.json')
    .option('--podman', 'registries.conf.d')
    .option('--crio', 'registries.conf.d')
    .option('--k3s', 'print what k3s and RKE2 want')
    .option('--dry-run', 'only say what would be written')
    .option('--root <dir>', "the host's root directory, from inside of a container", '/')
    .option('--edit-containerd-config', 'add config_path to config.toml where it is missing; with --restart')
    .option('--restart', 'restart containerd after that');
  // What names the mirror itself (--registry, --listen, --identity, --plain) is said as it is to the mirror.
  install.action(async (_flags: object, command: Command) => {
    const { runInstall } = await import('./mirror-install.ts');
    await runInstall(command.optsWithGlobals<InstallFlags>(), session);
  });
  mirror
    .command('uninstall')
    .description('take back what install wrote: every file as it was, edits that others made since stay')
    .option('--dry-run', 'only say what would be taken back')
    .option('--root <dir>', "the host's root directory, from inside of a container", '/')
    .action(async (flags: UninstallFlags) => {
      const { runUninstall } = await import('./mirror-install.ts');
      await runUninstall(flags, session);
    });
}

function addControl(mirror: Command, session: Session): void {
  mirror
    .command('status')
    .description(
      'whether the settings are in force, what the store holds, and where the last blobs came from',
    )
    .option('--json', 'as JSON')
    .option('--root <dir>', "the host's root directory, from inside of a container", '/')
    .action(async (_flags: object, command: Command) => {
      const { runStatus } = await import('./mirror-status.ts');
      await runStatus(command.optsWithGlobals<Parameters<typeof runStatus>[0]>(), session);
    });
  mirror
    .command('preheat')
    .description("bring images into the running mirror's store, with the credentials of its user")
    .argument('<image...>', '[registry/]name[:tag][@digest]')
    .action(async (images: string[], _flags: object, command: Command) => {
      const { runPreheat } = await import('./mirror-status.ts');
      await runPreheat(images, command.optsWithGlobals<ControlFlags>(), session);
    });
}

function declareIdentity(command: Command): Command {
  return command
    .option(
      '--identity <file>',
      "the mirror's key and certificate, made when it starts first (default: /var/lib/quayctl/mirror.pem)",
    )
    .option('--plain', 'plain HTTP on the port: where all users of this machine are trusted');
}
