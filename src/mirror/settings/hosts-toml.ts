import { isDeepStrictEqual } from 'node:util';
import { parse, type TomlTable, type TomlValue } from 'smol-toml';
import { QuayctlError } from '../../base/errors.ts';
import { block, newlineOf, quoted, type Edit } from './edit.ts';

/** What a hosts.toml says of the mirror (containerd; Docker 28 and newer reads the same). */
export interface HostsEntry {
  /** `https://127.0.0.1:7071` */
  readonly url: string;
  /** Docker resolves tags itself, with the user's login: `pull` alone. A word that a version does not know hides the file. */
  readonly capabilities: readonly ('pull' | 'resolve')[];
  /** Path of the mirror's certificate, as the engine sees it; undefined for plain HTTP. */
  readonly certificate: string | undefined;
  /** Header by which the mirror knows who reads this file; secret. */
  readonly header: { readonly name: string; readonly value: string } | undefined;
}

/** Certificates that count while a directory has no hosts.toml, and would not any more; paths for the file to be made. */
export interface DirectoryCertificates {
  readonly authorities: readonly string[];
  readonly clients: readonly (readonly [certificate: string, key: string])[];
}

const TABLE = /^[ \t]*\[/gm;

/** A hosts.toml where there was none. `server` is left out: the registry itself is the last resort. */
export function newHostsToml(entry: HostsEntry, certificates: DirectoryCertificates): Edit {
  const { authorities, clients } = certificates;
  const lines = [
    ...(authorities.length === 0 ? [] : [`ca = [${authorities.map(quoted).join(', ')}]`]),
    ...(clients.length === 0
      ? []
      : [`client = [${clients.map((pair) => `[${pair.map(quoted).join(', ')}]`).join(', ')}]`]),
    ...tableLines(entry),
  ];
  const content = block(lines);
  return { content, inserted: content };
}

/**
 * Our block before the first table of a hosts.toml, so that the mirror is asked first; every other byte as it was. What comes
 * of it is read back, and is what was there plus ours.
 * @throws QuayctlError `unsupported` for a file that is no TOML, or where it cannot be done
 */
export function editHostsToml(text: string, entry: HostsEntry): Edit {
  const before = tomlOrNot(text);
  if (before === undefined) throw new QuayctlError('unsupported', 'it is no TOML, so engines pass it over');
  if (hostsOf(before)[entry.url] !== undefined) {
    throw new QuayctlError('unsupported', `it names ${entry.url} already, not by us`);
  }
  const newline = newlineOf(text);
  const isOpen = text !== '' && !text.endsWith('\n');
  const ours = block(tableLines(entry), newline);
  // A line that begins with a bracket may also be inside of an array or a string: what it is shows when it is read back.
  for (const at of [...[...text.matchAll(TABLE)].map(({ index }) => index), text.length]) {
    const inserted = at === text.length && isOpen ? newline + ours : ours;
    const content = text.slice(0, at) + inserted + text.slice(at);
    if (isBoth(tomlOrNot(content), before, entry)) return { content, inserted };
  }
  throw new QuayctlError('unsupported', 'there is no place in it for a further host');
}

function tableLines({ url, capabilities, certificate, header }: HostsEntry): string[] {
  const name = `host.${quoted(url)}`;
  return [
    `[${name}]`,
    `  capabilities = [${capabilities.map(quoted).join(', ')}]`,
    ...(certificate === undefined ? [] : [`  ca = ${quoted(certificate)}`]),
    '  dial_timeout = "1s"',
    ...(header === undefined ? [] : [`  [${name}.header]`, `    ${header.name} = [${quoted(header.value)}]`]),
  ];
}

/** Whether one document is the other plus our host, which is the first. */
function isBoth(after: TomlTable | undefined, before: TomlTable, entry: HostsEntry): boolean {
  if (after === undefined) return false;
  const { [entry.url]: ours, ...others } = hostsOf(after);
  if (Object.keys(hostsOf(after))[0] !== entry.url) return false;
  if (!isDeepStrictEqual(ours, hostsOf(tomlOrNot(tableLines(entry).join('\n')) ?? {})[entry.url]))
    return false;
  const { host: _hosts, ...rest } = after;
  const { host: _before, ...restBefore } = before;
  return isDeepStrictEqual({ ...others }, { ...hostsOf(before) }) && isDeepStrictEqual(rest, restBefore);
}

function hostsOf({ host }: TomlTable): TomlTable {
  return isTable(host) ? host : {};
}

/** Undefined for what is no TOML. */
export function tomlOrNot(text: string): TomlTable | undefined {
  try {
    return plain(parse(text)) as TomlTable;
  } catch {
    return undefined;
  }
}

/** The parser's tables have no prototype, and so differ from ours when they are compared. */
function plain(value: TomlValue): TomlValue {
  if (Array.isArray(value)) return value.map(plain);
  if (!isTable(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

export function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
