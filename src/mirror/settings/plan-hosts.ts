import { isAbsolute, join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import { QuayctlError } from '../../base/errors.ts';
import type { Change } from './apply.ts';
import { textOf, type Edit } from './edit.ts';
import {
  editHostsToml,
  isTable,
  newHostsToml,
  tomlOrNot,
  type DirectoryCertificates,
  type HostsEntry,
} from './hosts-toml.ts';
import { CERTIFICATE_PATH, SECRET_HEADER, type Planning } from './settings-request.ts';
import type { FoundFile } from './settings-disk.ts';

const OTHERS = 0o077;
const DEFAULT_HOST = '_default';

/** What differs from engine to engine. */
interface HostsForm {
  readonly capabilities: HostsEntry['capabilities'];
  /** Whether whoever pulls with this engine may pull what this node may (`--node-auth`). */
  readonly mayHaveSecret: boolean;
}

/**
 * The hosts.toml of a registry, where an engine looks first.
 * @param roots directories of registries' directories, in the order in which they are looked at
 */
export async function hostsChange(
  registry: string,
  roots: readonly string[],
  { capabilities, mayHaveSecret }: HostsForm,
  planning: Planning,
): Promise<Change> {
  const { disk } = planning;
  const { host, certificate, secret } = planning.request;
  const { root, name } = await effectiveDirectory(registry, roots, planning);
  const own = join(root, name === DEFAULT_HOST ? registry : name);
  // A directory for this registry hides what holds for all.
  const source = name === DEFAULT_HOST ? join(root, DEFAULT_HOST) : own;
  const inherited = source === own ? undefined : await disk.read(join(source, 'hosts.toml'));
  const certificates = certificatesOf(await disk.list(source), source === own ? '' : `../${DEFAULT_HOST}/`);
  const newMode = mayHaveSecret && secret !== undefined ? 0o600 : 0o644;
  const entry = (mode: number): HostsEntry => ({
    url: `${certificate === undefined ? 'http' : 'https'}://${host}`,
    capabilities,
    certificate: certificate === undefined ? undefined : CERTIFICATE_PATH,
    // Of no use to whom it is not for: a file that others read does not get it.
    header:
      mayHaveSecret && secret !== undefined && (mode & OTHERS) === 0
        ? { name: SECRET_HEADER, value: secret }
        : undefined,
  });
  const edit = (before: FoundFile | undefined): Edit => {
    if (before !== undefined) return editHostsToml(textOf(before.bytes), entry(before.mode));
    if (inherited === undefined) return newHostsToml(entry(newMode), certificates);
    const text = textOf(inherited.bytes);
    if (namesRelativeFiles(tomlOrNot(text) ?? {})) {
      throw new QuayctlError(
        'unsupported',
        `${source}/hosts.toml holds for it, and names files beside itself`,
        {
          hint: `write a hosts.toml for ${registry} by hand, or name the files there by their whole path`,
        },
      );
    }
    return editHostsToml(text, entry(newMode));
  };
  return { path: join(own, 'hosts.toml'), mode: newMode, edit };
}

/** Which directory an engine takes for a registry (containerd, `hostPaths`). */
async function effectiveDirectory(
  registry: string,
  roots: readonly string[],
  { disk, record }: Planning,
): Promise<{ readonly root: string; readonly name: string }> {
  const names = [...new Set([registry.replace(/:(\d+)$/, '_$1_'), registry, DEFAULT_HOST])];
  const made = new Set(record.files.flatMap(({ directories }) => directories));
  for (const root of roots) {
    const there = await disk.list(root);
    for (const name of names) {
      if (!there.includes(name)) continue;
      const isOurs = made.has(join(root, name)) && (await disk.list(join(root, name))).length <= 1;
      if (!isOurs) return { root, name };
    }
  }
  return { root: roots[0] ?? '', name: registry };
}

/** @param prefix before the names, as seen from where the file will lie */
function certificatesOf(names: readonly string[], prefix: string): DirectoryCertificates {
  const clients = names.filter((name) => name.endsWith('.cert'));
  return {
    authorities: names.filter((name) => name.endsWith('.crt')).map((name) => prefix + name),
    clients: clients.map((name) => [prefix + name, prefix + name.replace(/\.cert$/, '.key')] as const),
  };
}

function namesRelativeFiles(table: TomlTable): boolean {
  const { host } = table;
  const tables = [table, ...(isTable(host) ? Object.values(host).filter(isTable) : [])];
  const files = tables.flatMap((each) => [each['ca'], each['client']]).flat(2);
  return files.some((file) => typeof file === 'string' && !isAbsolute(file));
}
