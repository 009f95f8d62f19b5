import { isDeepStrictEqual } from 'node:util';
import type { TomlTable, TomlValue } from 'smol-toml';
import { QuayctlError } from '../../base/errors.ts';
import { block, newlineOf, quoted, type Edit } from './edit.ts';
import { isTable, tomlOrNot } from './hosts-toml.ts';

/** containerd's CRI plug-in, by the version of the file: 2 (containerd 1.x) and 3 (2.x). */
const PLUGINS = ['io.containerd.cri.v1.images', 'io.containerd.grpc.v1.cri'] as const;

/** What config.toml says of registries. */
export interface ContainerdRegistry {
  /** Where hosts.toml files lie; several, separated by colons; empty or undefined where nothing is said. */
  readonly configPath: string | undefined;
  /** `mirrors` or `configs`, which keep the CRI plug-in from starting beside a config_path. */
  readonly hasOldSettings: boolean;
}

/** @param text of config.toml, or of `containerd config dump` @throws QuayctlError `unsupported` for what is no TOML */
export function containerdRegistry(text: string): ContainerdRegistry {
  const registries = registriesOf(tomlOrRefuse(text));
  const paths = registries.map((each) => each['config_path']).filter((path) => typeof path === 'string');
  return {
    configPath: paths.find((path) => path !== '') ?? paths[0],
    hasOldSettings: registries.some((each) => isFilled(each['mirrors']) || isFilled(each['configs'])),
  };
}

/** The lines that tell containerd where hosts.toml files lie. */
export function configPathLines(text: string, directory: string): readonly [table: string, line: string] {
  const plugin = tomlOrRefuse(text)['version'] === 3 ? PLUGINS[0] : PLUGINS[1];
  return [`[plugins.${quoted(plugin)}.registry]`, `  config_path = ${quoted(directory)}`];
}

/**
 * config.toml with a config_path; every other byte as it was. One that is there and empty makes room for it.
 * @throws QuayctlError `unsupported` where it cannot be done by adding lines
 */
export function editContainerdConfig(text: string, directory: string): Edit {
  const before = tomlOrRefuse(text);
  const newline = newlineOf(text);
  const [table, line] = configPathLines(text, directory);
  const plugin = before['version'] === 3 ? PLUGINS[0] : PLUGINS[1];
  const wanted = withConfigPath(before, plugin, directory);
  const start = text !== '' && !text.endsWith('\n') ? newline : '';
  const header = new RegExp(
    `^[ \\t]*\\[[ \\t]*plugins[ \\t]*\\.[ \\t]*["']${plugin.replaceAll('.', '\\.')}["'][ \\t]*\\.[ \\t]*registry[ \\t]*\\][^\\n]*\\n`,
    'm',
  ).exec(text);
  const inserted = header === null ? start + block([table, line], newline) : block([line], newline);
  const at = header === null ? text.length : header.index + header[0].length;
  const content = text.slice(0, at) + inserted + text.slice(at);
  const after = tomlOrNot(content);
  if (after !== undefined && isDeepStrictEqual(after, wanted)) return { content, inserted };
  throw new QuayctlError('unsupported', 'lines cannot simply be added to it', {
    hint: `write by hand: ${table} ${line.trim()}`,
  });
}

function withConfigPath(before: TomlTable, plugin: string, directory: string): TomlTable {
  const plugins = tableOf(before['plugins']);
  const cri = tableOf(plugins[plugin]);
  const registry = { ...tableOf(cri['registry']), config_path: directory };
  return { ...before, plugins: { ...plugins, [plugin]: { ...cri, registry } } };
}

function registriesOf(config: TomlTable): TomlTable[] {
  const plugins = tableOf(config['plugins']);
  return PLUGINS.map((name) => tableOf(tableOf(plugins[name])['registry']));
}

function tableOf(value: TomlValue | undefined): TomlTable {
  return isTable(value) ? value : {};
}

function isFilled(value: TomlValue | undefined): boolean {
  return isTable(value) && Object.keys(value).length > 0;
}

function tomlOrRefuse(text: string): TomlTable {
  const parsed = tomlOrNot(text);
  if (parsed === undefined) throw new QuayctlError('unsupported', "containerd's config.toml is no TOML");
  return parsed;
}
