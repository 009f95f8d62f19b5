import type { Command, HelpConfiguration, Option } from 'commander';
import { variableOf } from './variables.ts';

/** In which group of a command's help a flag stands, in the order of the groups. What is named nowhere comes last. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'What is pulled:': ['--from', '--platform', '--squashed', '--output', '--duration', '--seed-after'],
  'Where the bytes come from:': [
    ...['--upstream', '--registry', '--torrent-service', '--tracker', '--announce', '--skip-web-seed'],
    ...['--wait-for-peers', '--insecure', '--send-credentials', '--upstream-auth', '--offline-ok'],
    ...['--permission-grace', '--timeout', '--retries', '--stall', '--node-auth'],
  ],
  'Where it listens:': [
    ...['--listen', '--public-url', '--alias', '--admin-listen', '--admin-token-file', '--metrics-listen'],
    ...['--tls-cert', '--tls-key', '--trusted-proxy', '--identity', '--plain', '--control'],
  ],
  'Who may take part:': ['--peers', '--announce-from', '--token-ttl', '--secret-file'],
  'Security reports:': [
    ...['--max-severity', '--clair', '--clair-key', '--clair-issuer', '--security-wait'],
    ...['--notify', '--notify-key', '--notify-severity', '--notify-every'],
  ],
  'Network:': [
    ...['--lower-port', '--upper-port', '--announce-ip', '--download-rate', '--upload-rate'],
    ...['--connections-per-second', '--encryption-mode', '--no-report'],
  ],
  'On this machine:': [
    '--store',
    '--data',
    '--cache-size',
    '--content-store',
    '--record-digest',
    '--hook',
    '--install',
    '--install-root',
    '--root',
  ],
  'What it prints:': ['--json', '--quiet', '--no-progress', '--no-speed', '--log-format', '--debug'],
};

/** What somebody types who has the command before him for the first time; by the command's path. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  '': [
    'quayctl pull registry.example.com/team/app:1.0',
    'quayctl seed --duration 1h registry.example.com/team/app:1.0',
    'quayctl serve --upstream https://registry.example.com',
  ],
  pull: ['quayctl pull registry.example.com/team/app:1.0 --torrent-service https://torrents.example.com'],
  seed: ['quayctl seed --duration 1h registry.example.com/team/app:1.0'],
  'torrent pull': ['quayctl torrent pull registry.example.com/team/app:1.0 --output app.tar'],
  'torrent seed': ['quayctl torrent seed --upload-rate 20000'],
  doctor: ['quayctl doctor registry.example.com/team/app:1.0'],
  security: ['quayctl security registry.example.com/team/app:1.0 --clair https://clair.example.com'],
  serve: [
    'quayctl serve --upstream https://registry.example.com --listen 0.0.0.0:7070 \\',
    '    --public-url https://torrents.example.com:7070 \\',
    '    --tls-cert tls.crt --tls-key tls.key',
  ],
  'serve prepare': ['quayctl serve --upstream https://registry.example.com prepare team/app:1.0'],
  'serve rotate-key': ['quayctl serve --upstream https://registry.example.com rotate-key'],
  mirror: ['quayctl mirror --registry registry.example.com --torrent-service https://torrents.example.com'],
  'mirror install': ['sudo quayctl mirror install --registry registry.example.com'],
  'mirror uninstall': ['sudo quayctl mirror uninstall'],
  'mirror status': ['sudo quayctl mirror status'],
  'mirror preheat': ['sudo quayctl mirror preheat registry.example.com/team/app:1.0'],
  login: ['echo "$TOKEN" | quayctl login -u robot --password-stdin registry.example.com'],
  logout: ['quayctl logout registry.example.com'],
  store: ['quayctl store ls', 'quayctl store gc --max-size 20G'],
  status: ['quayctl status --watch', 'quayctl status --admin unix:/run/quayctl/admin.sock'],
  'store ls': ['quayctl store ls --json'],
  'store rm': ['quayctl store rm registry.example.com/team/app:1.0'],
  'store share': ['sudo quayctl store share --group quayctl'],
  'store gc': ['quayctl store gc --max-size 20G --dry-run'],
  config: ['QUAYCTL_UPLOAD_RATE=20000 quayctl config'],
  'plugin install': ['quayctl plugin install && docker torrent pull registry.example.com/team/app:1.0'],
  'plugin uninstall': ['quayctl plugin uninstall'],
  completion: ['source <(quayctl completion bash)'],
};
const IMAGE_OF_ENGINE: Readonly<Record<string, string>> = { rkt: 'quay.io/team/app:1.0' };

/** The commands of quayctl itself, in the order in which people meet them. */
const COMMAND_GROUPS: Readonly<Record<string, readonly string[]>> = {
  'Pull and give:': ['pull', 'seed', 'docker', 'podman', 'rkt', 'torrent'],
  'Look:': ['doctor', 'status', 'security', 'store', 'config', 'version'],
  'Run for others:': ['serve', 'mirror'],
};

const VARIABLES = `Each flag can be set by an environment variable, --upload-rate by
QUAYCTL_UPLOAD_RATE, and in a configuration file (quayctl help config).`;

/** For `configureHelp`: the variables' names, one rule for all, are not printed beside each flag. */
export const HELP: HelpConfiguration = {
  showGlobalOptions: true,
  optionDescription: (option: Option) =>
    option.defaultValue === undefined || option.negate || typeof option.defaultValue === 'boolean'
      ? option.description
      : `${option.description} (default: ${String(option.defaultValueDescription ?? option.defaultValue)})`,
};

/** Puts the flags of every command into groups, and an example behind its help. */
export function arrangeHelp(command: Command, path: readonly string[] = []): void {
  const headings = Object.keys(GROUPS);
  const place = ({ long }: Option): number => {
    const at = headings.findIndex((heading) => GROUPS[heading]?.includes(long ?? '') === true);
    return at === -1 ? headings.length : at;
  };
  const groups = new Set(command.options.map(place));
  // A few flags need no order.
  if (groups.size > 1 && command.options.length > 8) {
    (command.options as Option[]).sort((one, other) => place(one) - place(other));
    for (const option of command.options) {
      const heading = headings[place(option)];
      if (heading !== undefined) option.helpGroup(heading);
    }
  }
  const examples = examplesOf(path);
  if (examples.length > 0) {
    command.addHelpText('after', `\nFor example:\n${examples.map((line) => `  ${line}`).join('\n')}`);
  }
  if (command.options.some((option) => variableOf(option) !== undefined)) {
    command.addHelpText('after', `\n${VARIABLES}`);
  }
  if (path.length === 0) groupCommands(command);
  for (const child of command.commands) arrangeHelp(child, [...path, child.name()]);
}

function groupCommands(program: Command): void {
  for (const [heading, names] of Object.entries(COMMAND_GROUPS)) {
    for (const name of names) {
      const command = program.commands.find((each) => each.name() === name);
      command?.helpGroup(heading);
    }
  }
  for (const command of program.commands) if (command.helpGroup() === '') command.helpGroup('Set up:');
}

/** @returns lines; none for a command that only has others below it */
export function examplesOf(path: readonly string[]): readonly string[] {
  const known = EXAMPLES[path.join(' ')];
  if (known !== undefined) return known;
  const [engine = '', torrent, verb] = path;
  if (torrent !== 'torrent' || verb === undefined) return [];
  const image = IMAGE_OF_ENGINE[engine] ?? 'registry.example.com/team/app:1.0';
  return [`quayctl ${path.join(' ')} ${verb === 'seed' ? '--duration 1h ' : ''}${image}`];
}
