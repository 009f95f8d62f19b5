import { fileEntry, NO_CONTENT, PLAIN_DIRECTORY, type Entry, type TarEntry } from '../../tar/entry.ts';
import type { MergedTree } from '../../layers/merged-tree.ts';

const ROOT = 'rootfs';
/**
 * What Docker puts into /dev when a container starts and rkt does not (docker2aci): images write their logs there.
 */
const DEVICE_LINKS: readonly (readonly [name: string, target: string])[] = [
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/dev/console'],
  ['stderr', '/dev/console'],
  ['fd', '/proc/self/fd'],
];

/**
 * An ACI's entries (appc spec, "Image Archives"): the manifest first, then the merged tree below `rootfs`. The same
 * image makes the same entries.
 */
export async function* aciEntries(
  tree: Pick<MergedTree, 'entries'>,
  manifest: Uint8Array,
): AsyncGenerator<TarEntry> {
  yield fileEntry('manifest', manifest);
  const devices = new DeviceLinks();
  for await (const { header, content } of tree.entries()) {
    devices.see(header);
    yield { header: below(header), content };
  }
  for (const header of devices.missing()) yield { header: below(header), content: NO_CONTENT };
}

function below(header: Entry): Entry {
  const path = header.path === '' ? ROOT : `${ROOT}/${header.path}`;
  return header.type === 'hardlink'
    ? { ...header, path, linkPath: `${ROOT}/${header.linkPath}` }
    : { ...header, path };
}

/** Looks on which of the links the image has already, or could not have. */
class DeviceLinks {
  readonly #seen = new Set<string>();
  #dev: Entry | undefined;

  see(header: Entry): void {
    if (header.path === 'dev') this.#dev = header;
    else if (header.path.startsWith('dev/')) this.#seen.add(header.path);
  }

  missing(): readonly Entry[] {
    if (this.#dev !== undefined && this.#dev.type !== 'directory') return [];
    const links = DEVICE_LINKS.map(([name, linkPath]): Entry => ({
      ...PLAIN_DIRECTORY,
      type: 'symlink',
      mode: 0o777,
      path: `dev/${name}`,
      linkPath,
    })).filter(({ path }) => !this.#seen.has(path));
    return this.#dev === undefined ? [{ ...PLAIN_DIRECTORY, path: 'dev' }, ...links] : links;
  }
}
