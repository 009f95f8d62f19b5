import type { TomlTable } from 'smol-toml';
import { QuayctlError } from '../../base/errors.ts';
import { block, quoted, type Edit } from './edit.ts';
import { isTable, tomlOrNot } from './hosts-toml.ts';

/** One file of registries.conf (containers-registries.conf(5)), in the order in which they are read. */
export interface RegistriesFile {
  readonly path: string;
  readonly text: string;
}

/**
 * A drop-in that puts the mirror before a registry. A later `[[registry]]` takes the place of an earlier one of the same
 * prefix, with all that it says, so what is in force is copied: `insecure`, `blocked`, `location` and mirrors.
 * @param location `127.0.0.1:7071/HOST`
 * @throws QuayctlError `unsupported` for files that podman does not understand either, and those of version 1
 */
export function registriesDropIn(
  host: string,
  location: string,
  files: readonly RegistriesFile[],
  isPlain: boolean,
): Edit {
  const { mirror, ...settings } = inForce(host, files);
  const mirrors = Array.isArray(mirror) ? mirror.filter(isTable) : [];
  const ours = { location, ...(isPlain ? { insecure: true } : {}) };
  const lines = [
    '[[registry]]',
    ...pairs({ ...settings, prefix: host, location: settings['location'] ?? host }),
    ...[ours, ...mirrors].flatMap((each) => ['[[registry.mirror]]', ...pairs(each)]),
  ];
  const content = block(lines);
  return { content, inserted: content };
}

/** What holds for a registry before us: its own entry, else that of the longest `*.` that fits. */
function inForce(host: string, files: readonly RegistriesFile[]): TomlTable {
  const byPrefix = new Map<string, TomlTable>();
  for (const { path, text } of files) {
    const parsed = tomlOrNot(text);
    if (parsed === undefined) throw new QuayctlError('unsupported', `${path} is no TOML`);
    if (isTable(parsed['registries'])) {
      throw new QuayctlError('unsupported', `${path} is of version 1, which knows no mirrors`, {
        hint: 'containers-registries.conf(5) says how it is written today',
      });
    }
    const registries = Array.isArray(parsed['registry']) ? parsed['registry'].filter(isTable) : [];
    for (const each of registries) {
      const prefix = each['prefix'] ?? each['location'];
      if (typeof prefix === 'string') byPrefix.set(prefix, each);
    }
  }
  const name = host.replace(/:\d+$/, '');
  const fits = [...byPrefix.keys()].filter(
    (prefix) => prefix === host || (prefix.startsWith('*.') && name.endsWith(prefix.slice(1))),
  );
  fits.sort((a, b) => Number(b === host) - Number(a === host) || b.length - a.length);
  return byPrefix.get(fits[0] ?? '') ?? {};
}

/** Strings, booleans and lists of strings: there is nothing else in it. */
function pairs(table: TomlTable): string[] {
  return Object.entries(table)
    .filter(([, value]) => !isTable(value))
    .map(([key, value]) => `${/^[\w-]+$/.test(key) ? key : quoted(key)} = ${JSON.stringify(value)}`);
}
