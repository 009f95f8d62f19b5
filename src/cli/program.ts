import { Argument, Command, Option } from 'commander';
import type { EngineEntry } from '../engines/engine-entry.ts';
import { ENGINES } from '../engines/engines.ts';
import {
  collect,
  declareOutputFlags,
  declareSwarmFlags,
  declareTorrentFlags,
  type RawTorrentFlags,
} from './flags.ts';
import { describeBuild } from './build-facts.ts';
import { arrangeHelp, HELP } from './help.ts';
import { LOG_FORMAT_HELP } from './log-format.ts';
import { declareNotifyFlags } from './report-flags.ts';
import { addSecurity } from './security-command.ts';
import { addMirror } from './mirror-command.ts';
import type { RawDoctorFlags } from './doctor.ts';
import type { RawServeFlags } from './serve.ts';
import type { RawStatusFlags } from './status.ts';
import type { Session } from './session.ts';
import { addLogin, addStore } from './local-commands.ts';
import { nameVariables } from './variables.ts';

/**
 * Declares all commands. What a command does is imported when it runs, so that `--help` and `--version` load none of
 * the heavy libraries.
 * @param engines each gets commands of its own
 */
export function makeProgram(session: Session, engines: readonly EngineEntry[] = ENGINES): Command {
  const program = new Command('quayctl')
    .description('Pull container images over BitTorrent')
    .version(session.version, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => session.terminal.out(text),
      writeErr: (text) => session.terminal.err(text),
      // Errors are printed in one place, main.
      outputError: () => undefined,
    });

  program.configureHelp(HELP);
  addShortCommands(program, engines, session);
  for (const engine of engines) {
    const { name, title } = engine;
    const command = program.command(name).description(`images for ${title}`);
    addTorrentCommands(command.command('torrent').description(`pull into ${title}, seed`), engine, session);
  }
  const torrent = program.command('torrent').description('images for the local store, no engine needed');
  addTorrentCommands(torrent, undefined, session);
  addDoctor(program, session);
  addSecurity(program, session);
  addServe(program, session);
  addMirror(program, session);
  addStatus(program, session);
  addLogin(program, session);
  addStore(program, session);
  program
    .command('version')
    .description('print the version')
    .option('--json', 'as JSON, with commit, platform and the version of Node')
    .action((flags: { json?: boolean }) => {
      const text = flags.json === true ? JSON.stringify(describeBuild()) : `quayctl ${session.version}`;
      session.terminal.out(`${text}\n`);
    });
  addConfig(program, session);
  addCompletion(program, session);
  addPlugin(program, session);
  nameVariables(program);
  arrangeHelp(program);
  return program;
}

function addConfig(program: Command, session: Session): void {
  program
    .command('config')
    .description('print the settings in force that are no defaults, and where each comes from')
    .option('--json', 'as JSON')
    .action(async (flags: { json?: boolean }) => {
      const { printConfig } = await import('./config.ts');
      printConfig(flags, session);
    });
}

function addCompletion(program: Command, session: Session): void {
  program
    .command('completion')
    .description('print a script that completes commands and flags: source <(quayctl completion bash)')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('./completion.ts');
      session.terminal.out(completionScript(shell, program));
    });
}

function addPlugin(program: Command, session: Session): void {
  const plugin = program.command('plugin').description('docker torrent pull: quayctl as a plug-in of Docker');
  const system = ['--system', 'for all users: /usr/local/lib/docker/cli-plugins'] as const;
  plugin
    .command('install')
    .description('make `docker torrent pull IMAGE` a command of Docker')
    .option(...system)
    .action(async (flags: { system?: boolean }) => {
      const { installPlugin } = await import('./docker-plugin.ts');
      await installPlugin(flags, session);
    });
  plugin
    .command('uninstall')
    .description('take it back')
    .option(...system)
    .action(async (flags: { system?: boolean }) => {
      const { uninstallPlugin } = await import('./docker-plugin.ts');
      await uninstallPlugin(flags, session);
    });
}

const IMAGE_NAMES: Readonly<Record<EngineEntry['imageKind'], string>> = {
  oci: '[registry/]name[:tag][@digest]',
  appc: 'an appc image name: quay.io/ns/repo:1.0[,label=value]',
};

function addTorrentCommands(parent: Command, engine: EngineEntry | undefined, session: Session): void {
  const names = IMAGE_NAMES[engine?.imageKind ?? 'oci'];
  const into =
    engine === undefined
      ? 'into the local store; --output writes an OCI layout or archive'
      : `into ${engine.title}`;
  const pull = parent.command('pull').description(`pull an image ${into}`).argument('[image...]', names);
  declareOutputFlags(declareTorrentFlags(pull, 'pull', engine)).action(
    async (images: readonly string[], flags: RawTorrentFlags) => runPullInto(images, engine, flags, session),
  );

  const seed = parent.command('seed');
  if (engine === undefined) {
    seed
      .description('seed these images; with none named, everything that the store holds')
      .argument('[image...]', names);
  } else {
    seed.description('download what is missing, then seed').argument('<image>', names);
  }
  declareOutputFlags(declareTorrentFlags(seed, 'seed', engine)).action(
    async (image: string | readonly string[], flags: RawTorrentFlags) => {
      const images = typeof image === 'string' ? [image] : image;
      if (engine?.imageKind === 'appc') {
        const { runAciSeed } = await import('./aci.ts');
        return runAciSeed(images, engine, flags, session);
      }
      const { runSeed } = await import('./seed.ts');
      return runSeed(images, engine, flags, session);
    },
  );
}

async function runPullInto(
  images: readonly string[],
  engine: EngineEntry | undefined,
  flags: RawTorrentFlags,
  session: Session,
): Promise<void> {
  if (engine?.imageKind === 'appc') {
    const { runAciPull } = await import('./aci.ts');
    return runAciPull(images, engine, flags, session);
  }
  const { runPull } = await import('./pull.ts');
  return runPull(images, engine, flags, session);
}

/** `quayctl pull` and `quayctl seed`: the engine is found, everything else is as in the longer commands. */
function addShortCommands(program: Command, engines: readonly EngineEntry[], session: Session): void {
  const pull = program
    .command('pull')
    .description('pull images into the engine that answers here, else into the local store')
    .argument('[image...]', IMAGE_NAMES.oci);
  declareOutputFlags(declareTorrentFlags(pull, 'pull', undefined)).action(
    async (images: readonly string[], flags: RawTorrentFlags) => {
      const { findEngine } = await import('./find-engine.ts');
      const engine = flags.output === undefined ? await findEngine(engines, session) : undefined;
      if (flags.quiet !== true && flags.output === undefined)
        session.terminal.err(
          engine === undefined ? 'No engine answers here: into the local store\n' : `Into ${engine.title}\n`,
        );
      await runPullInto(images, engine, flags, session);
    },
  );
  const seed = program
    .command('seed')
    .description('seed these images; with none named, everything that the store holds')
    .argument('[image...]', IMAGE_NAMES.oci);
  declareOutputFlags(declareTorrentFlags(seed, 'seed', undefined)).action(
    async (images: readonly string[], flags: RawTorrentFlags) => {
      const { runSeed } = await import('./seed.ts');
      await runSeed(images, undefined, flags, session);
    },
  );
}

function addDoctor(program: Command, session: Session): void {
  const doctor = program
    .command('doctor')
    .description('say why bytes do, or do not, come from peers: a line for each thing that a pull depends on')
    .argument('[image]', `${IMAGE_NAMES.oci}; without one only this machine is looked at`)
    .addOption(
      new Option(
        '--torrent-service <url>',
        'where torrents are asked for (default: the registry itself)',
      ).env('QUAYCTL_TORRENT_SERVICE'),
    )
    .option('--insecure', 'plain HTTP to the registry and the service (loopback may be HTTP without it)')
    .option('--send-credentials', "give the registry's password to a torrent service on another host")
    .option('--platform <os/arch>', "OS/ARCH[/VARIANT] (default: this machine's)")
    .option('--no-speed', 'do not measure how fast the registry and peers are (3 s, at most 64 MiB each)')
    .option('--json', 'one JSON object on stdout instead of lines')
    .option('--debug', 'protocol log and stack traces on stderr');
  declareSwarmFlags(doctor).action(async (image: string | undefined, flags: RawDoctorFlags) => {
    const { runDoctor } = await import('./doctor.ts');
    await runDoctor(image, flags, session);
  });
}

function addServe(program: Command, session: Session): void {
  const serve = program
    .command('serve')
    .description(
      'the torrent service: makes any OCI registry, or an OCI layout on disk, pullable over BitTorrent',
    )
    .option('--upstream <url>', 'URL of the registry, or oci:DIR for an OCI layout (required)')
    .option('--listen <host:port>', 'where it listens', '127.0.0.1:7070')
    .option('--public-url <url>', 'how clients reach it (default: from --listen)')
    .option(
      '--admin-listen <host:port>',
      'where the operator looks at it, and reads /metrics; also unix:PATH, or none (default: 127.0.0.1:7072)',
    )
    .option(
      '--admin-token-file <file>',
      'who shows its content as a Bearer token, or as a password, is the operator',
    )
    .option('--announce <url>', 'use an external tracker instead of its own')
    .option('--tls-cert <file>', 'serve HTTPS with this certificate (PEM)')
    .option('--tls-key <file>', 'the key of --tls-cert (PEM)')
    .option('--data <dir>', 'piece hashes, keys and cached blobs (default: $XDG_DATA_HOME/quayctl)')
    .option(
      '--cache-size <size>',
      'blobs of the upstream that are kept in --data; 0 for none (default: a tenth of the disk, at most 20Gi)',
    )
    .option('--token-ttl <duration>', 'life of announce tokens and signed web seed URLs', '1h')
    .option(
      '--upstream-auth <file>',
      "the service's own pull credential, in the form of Docker's config.json (default: that of this user)",
    )
    .option(
      '--permission-grace <duration>',
      'how long a granted permission serves while the upstream does not answer',
      '10m',
    )
    .option(
      '--trusted-proxy <cidr>',
      'whose X-Forwarded-For is believed; repeatable and comma-separated',
      collect,
    )
    .option(
      '--announce-from <cidr>',
      'peers that may name another address than theirs (--announce-ip); repeatable and comma-separated',
      collect,
    )
    .option(
      '--peers <rule>',
      'any: every peer with a token; tls: only nodes that prove it is their own, in encrypted connections',
      'any',
    )
    .option('--insecure', 'plain HTTP towards the upstream')
    .option('--secret-file <file>', 'the secrets that replicas share (default: in --data)')
    .option('--alias <host>', 'a further name of the upstream; repeatable', collect)
    .option('--log-format <format>', LOG_FORMAT_HELP, 'text')
    .option('--debug', 'stack traces and every request on stderr');
  declareNotifyFlags(serve).action(async (flags: RawServeFlags) => {
    const { runServe } = await import('./serve.ts');
    await runServe(flags, session);
  });
  serve
    .command('prepare')
    .description('make the torrents of images ahead of time, for a service with the same --data')
    .argument('<image...>', '[HOST/]name[:tag][@digest], of the upstream')
    .action(async (images: string[], _flags: object, command: Command) => {
      const { runPrepare } = await import('./serve.ts');
      await runPrepare(images, command.optsWithGlobals<RawServeFlags>(), session);
    });
  serve
    .command('rotate-key')
    .description('a new key for announce tokens; it signs in an hour')
    .action(async (_flags: object, command: Command) => {
      const { runRotateKey } = await import('./serve.ts');
      await runRotateKey(command.optsWithGlobals<RawServeFlags>(), session);
    });
}
function addStatus(program: Command, session: Session): void {
  program
    .command('status')
    .description('what peers saved, swarms and nodes: of `serve` or `mirror` on this machine, or at --admin')
    .option('--admin <url>', 'their --admin-listen: http://HOST:PORT or unix:PATH')
    .option('--admin-token-file <file>', 'the token of that listener')
    .option('--watch', 'again every two seconds, until Ctrl-C')
    .option('--json', 'as JSON (docs/api.md)')
    .action(async (flags: RawStatusFlags) => {
      const { runStatus } = await import('./status.ts');
      await runStatus(flags, session);
    });
}
