import type { Command, Option } from 'commander';

const PREFIX = 'QUAYCTL_';
/** Flags that are useful for one run only, so they have no environment variable. */
const WITHOUT = new Set(['--help', '--version', '--password-stdin', '--local-ip', '--system']);

/** `--torrent-service` is QUAYCTL_TORRENT_SERVICE. */
export function variableOf(option: Pick<Option, 'long'>): string | undefined {
  const { long } = option;
  if (long === undefined || WITHOUT.has(long)) return undefined;
  return PREFIX + long.slice(2).replaceAll('-', '_').toUpperCase();
}

/** Lets every flag of every command be set by an environment variable. */
export function nameVariables(command: Command): void {
  for (const option of command.options) {
    const variable = variableOf(option);
    if (variable === undefined || option.envVar !== undefined) continue;
    option.env(variable);
    // Commander listens for variables that an option has when it is added; these come later.
    command.on(`optionEnv:${option.name()}`, (value?: string) => {
      const parse: ((text: string, before: undefined) => unknown) | undefined = option.parseArg;
      const read = (text: string): unknown => (parse === undefined ? text : parse(text, undefined));
      const parsed = value === undefined ? !option.negate : read(value);
      command.setOptionValueWithSource(option.attributeName(), parsed, 'env');
    });
  }
  for (const child of command.commands) nameVariables(child);
}
