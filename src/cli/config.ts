import { readFileSync } from 'node:fs';
import type { Command, Option } from 'commander';
import { QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { xdgDirectory, type Session } from './session.ts';
import { variableOf } from './variables.ts';

const MAX_CONFIG_BYTES = 256 * 1024;
const SYSTEM_FILE = '/etc/quayctl/config.yaml';
const YES = /^(?:1|true|yes|on)$/i;
const NO = /^(?:|0|false|no|off)$/i;

/** A setting that is no default. `value` is as the flag would take it; `true` for a flag without a value. */
interface Setting {
  readonly value: string;
  /** The file, or the environment. */
  readonly from: string;
}

/** The user's own file comes after the machine's: what stands in it counts. */
function configFiles(session: Pick<Session, 'env' | 'home'>): readonly string[] {
  return [SYSTEM_FILE, `${xdgDirectory(session as Session, 'XDG_CONFIG_HOME', '.config')}/config.yaml`];
}

/**
 * What the configuration files and the environment say, by the names of environment variables.
 *
 * A file is a YAML map from a flag's long name to its value: `torrent-service: https://torrents.example.com`,
 * `tracker: [a, b]`, `insecure: true`. Under the name of a command (`serve:`) stand settings of that command alone.
 * @param command the first word of the command line
 * @throws QuayctlError `usage`, naming the file and the key
 */
export async function readSettings(
  program: Command,
  command: string | undefined,
  session: Pick<Session, 'env' | 'home'>,
): Promise<Map<string, Setting>> {
  const settings = new Map<string, Setting>();
  const known = optionsOf(program);
  for (const file of configFiles(session)) {
    const content = await readConfig(file);
    for (const [key, value] of Object.entries(content)) {
      const section = program.commands.find((child) => child.name() === key);
      if (section === undefined) set(key, value, known, file, settings);
      else if (!isMap(value)) throw wrong(file, key, 'the settings of a command are a map');
      else {
        const own = optionsOf(section);
        // Settings of other commands are only checked.
        const target = key === command ? settings : new Map<string, Setting>();
        for (const [name, each] of Object.entries(value))
          set(name, each, own, file, target, `${key}.${name}`);
      }
    }
  }
  for (const variable of known.keys()) {
    const value = session.env[variable];
    if (value !== undefined) settings.set(variable, { value, from: `environment ${variable}` });
  }
  return settings;
}

/**
 * The environment that commander is to see: files under the variables, and no variable that says no to a flag without
 * a value. Undefined means: is not to be there.
 * @throws QuayctlError `usage` for a variable that says neither yes nor no
 */
export function variablesFor(
  program: Command,
  settings: ReadonlyMap<string, Setting>,
): Map<string, string | undefined> {
  const variables = new Map<string, string | undefined>();
  for (const [variable, options] of optionsOf(program)) {
    const setting = settings.get(variable);
    if (setting === undefined) continue;
    const { value, from } = setting;
    if (options.some(({ required, optional }) => required || optional)) variables.set(variable, value);
    else if (YES.test(value)) variables.set(variable, 'true');
    else if (NO.test(value)) variables.set(variable, undefined);
    else
      throw new QuayctlError('usage', `${variable} is true or false, not ${JSON.stringify(value)} (${from})`);
  }
  return variables;
}

/** `quayctl config` */
export function printConfig(
  { json }: { readonly json?: boolean },
  { terminal, settings, ...session }: Session,
): void {
  const rows = [...settings].map(([variable, { value, from }]) => ({
    setting: variable.slice('QUAYCTL_'.length).toLowerCase().replaceAll('_', '-'),
    value: redact(value),
    from,
  }));
  if (json === true)
    return terminal.out(`${JSON.stringify({ files: configFiles(session), settings: rows })}\n`);
  for (const { setting, value, from } of rows) terminal.out(`${setting}: ${value}  # ${from}\n`);
  if (rows.length === 0)
    terminal.err(
      `Nothing is set: no QUAYCTL_... in the environment, nothing in ${configFiles(session).join(' or ')}\n`,
    );
}

/** All options of a command and those below it, by the name of their variable. */
function optionsOf(command: Command): Map<string, Option[]> {
  const found = new Map<string, Option[]>();
  const add = (each: Command): void => {
    for (const option of each.options) {
      const variable = variableOf(option);
      if (variable !== undefined) found.set(variable, [...(found.get(variable) ?? []), option]);
    }
    for (const child of each.commands) add(child);
  };
  add(command);
  return found;
}

function set(
  key: string,
  value: unknown,
  known: ReadonlyMap<string, unknown>,
  file: string,
  settings: Map<string, Setting>,
  shown = key,
): void {
  const variable = `QUAYCTL_${key.replaceAll('-', '_').toUpperCase()}`;
  if (!known.has(variable) || key !== key.toLowerCase())
    throw wrong(file, shown, 'there is no flag of this name');
  const values = Array.isArray(value) ? value : [value];
  if (!values.every((each) => ['string', 'number', 'boolean'].includes(typeof each)))
    throw wrong(file, shown, 'a text, a number, true, false, or a list of these is wanted');
  settings.set(variable, { value: values.join(','), from: file });
}

async function readConfig(file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // With sudo -u the home may still be that of the user before: there is nothing of ours then.
    if (code === 'ENOENT' || code === 'ENOTDIR' || (code === 'EACCES' && file !== SYSTEM_FILE)) return {};
    throw new QuayctlError('usage', `cannot read ${file}`, { cause: error });
  }
  if (text.length > MAX_CONFIG_BYTES)
    throw new QuayctlError('usage', `${file} is too long for a configuration`);
  const { parse } = await import('yaml');
  let content: unknown;
  try {
    content = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    const [reason = ''] = (error as Error).message.split('\n');
    throw new QuayctlError('usage', `${file} is no YAML: ${reason}`);
  }
  if (content === null || content === undefined) return {};
  if (!isMap(content)) throw new QuayctlError('usage', `${file}: a map of settings is wanted`);
  return content;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(file: string, key: string, what: string): QuayctlError {
  return new QuayctlError('usage', `${file}: ${key}: ${what}`, {
    hint: 'a setting has the long name of a flag, without its dashes: torrent-service: https://torrents.example.com',
  });
}
