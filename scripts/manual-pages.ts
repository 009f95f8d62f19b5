import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { examplesOf } from '../src/cli/help.ts';
import { makeProgram } from '../src/cli/program.ts';
import type { Session } from '../src/cli/session.ts';
import { variableOf } from '../src/cli/variables.ts';

const EXIT_CODES = [
  ['0', 'done'],
  ['1', 'network, disk, or another failure; the message says which'],
  ['2', 'a wrong flag or argument'],
  ['3', 'permission was denied'],
  ['4', 'there is no such image'],
  ['5', 'the container engine failed'],
  ['6', 'content is not what its digest or signature says'],
  ['7', 'the image has a worse flaw than --max-severity lets in'],
  ['130, 143', 'ended by SIGINT, SIGTERM'],
] as const;
const FILES = [
  ['/etc/quayctl/config.yaml', 'settings of this machine: flags without their dashes'],
  ['$XDG_CONFIG_HOME/quayctl/config.yaml', "the user's own settings, which count before the machine's"],
  ['$XDG_CACHE_HOME/quayctl', 'the local store of blobs'],
] as const;

/** Manual pages in man(7)'s macros, by their file names: one for each command, made from what `--help` prints. */
export function manualPages(): Map<string, string> {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
    version: string;
  };
  // Declaring commands asks nothing of a session but the version.
  const program = makeProgram({ version } as Session);
  const pages = new Map<string, string>();
  const add = (command: Command, path: readonly string[]): void => {
    pages.set(`${['quayctl', ...path].join('-')}.1`, page(command, path, version));
    for (const child of command.commands) add(child, [...path, child.name()]);
  };
  add(program, []);
  return pages;
}

function page(command: Command, path: readonly string[], version: string): string {
  const name = ['quayctl', ...path].join('-');
  const { commands } = command;
  const options = inherited(command).filter(({ hidden }) => !hidden);
  const lines = [
    `.TH "${name.toUpperCase()}" "1" "" "quayctl ${version}" "quayctl"`,
    '.SH NAME',
    `${text(name)} \\- ${text(command.description())}`,
    '.SH SYNOPSIS',
    `.B ${text(['quayctl', ...path].join(' '))}`,
    text(command.usage()),
    '.SH DESCRIPTION',
    text(sentence(command.description())),
  ];
  if (commands.length > 0) {
    lines.push('.SH COMMANDS');
    for (const child of commands) {
      lines.push('.TP', `.B ${text(`${name}-${child.name()}`)}(1)`, text(sentence(child.description())));
    }
  }
  if (options.length > 0) {
    lines.push('.SH OPTIONS');
    for (const option of options) lines.push('.TP', `.B ${text(option.flags)}`, described(option));
  }
  const examples = examplesOf(path);
  if (examples.length > 0) lines.push('.SH EXAMPLES', '.EX', ...examples.map(text), '.EE');
  if (path.length === 0) lines.push(...table('EXIT STATUS', EXIT_CODES), ...table('FILES', FILES));
  if (command.parent !== null) lines.push('.SH SEE ALSO', `.BR ${parentOf(path)} (1)`);
  return `${lines.join('\n')}\n`;
}

function parentOf(path: readonly string[]): string {
  return text(['quayctl', ...path.slice(0, -1)].join('-'));
}

/** Flags of the commands above count, too, as in `quayctl serve --upstream URL prepare`. */
function inherited(command: Command): readonly Option[] {
  const above = command.parent === null ? [] : inherited(command.parent);
  return [...command.options, ...above.filter(({ long }) => long !== '--version')];
}

function described(option: Option): string {
  const { description } = option;
  const defaultValue: unknown = option.defaultValue;
  const variable = variableOf(option);
  const value = typeof defaultValue === 'string' ? ` Default: ${defaultValue}.` : '';
  return text(`${sentence(description)}${value}${variable === undefined ? '' : ` Variable: ${variable}.`}`);
}

function table(heading: string, rows: readonly (readonly [string, string])[]): string[] {
  return [`.SH ${heading}`, ...rows.flatMap(([key, what]) => ['.TP', `.B ${text(key)}`, text(what)])];
}

function sentence(words: string): string {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}${words.endsWith('.') ? '' : '.'}`;
}

/** As roff takes it: a backslash, a hyphen that is typed, and a line that begins like a request. */
function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
