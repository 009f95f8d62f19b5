import { lstat, mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSea } from 'node:sea';
import { QuayctlError } from '../base/errors.ts';
import { writeAtomically } from '../base/atomic-file.ts';
import { PLUGIN_ENTRY } from './plugin-call.ts';
import type { Session } from './session.ts';

/** `docker NAME` is the program `docker-NAME` in a folder for plug-ins (docker/cli, cli-plugins/manager). */
const PLUGIN = 'docker-torrent';
const SYSTEM_FOLDER = '/usr/local/lib/docker/cli-plugins';
const MARK = '# Written by `quayctl plugin install`.';
/**
 * Puts `docker torrent` into Docker's folder for plug-ins: the user's, or that of all users.
 * @throws QuayctlError `usage` where another program has this name; `disk`
 */
export async function installPlugin(flags: { readonly system?: boolean }, session: Session): Promise<void> {
  const file = pluginFile(flags, session);
  if (!(await isAbsentOrOurs(file))) {
    throw new QuayctlError('usage', `${file} is there, and not ours`, { hint: 'remove it first' });
  }
  await mkdir(dirname(file), { recursive: true });
  const command = isSea() ? [process.execPath] : [process.execPath, process.argv[1] ?? ''];
  const text = `#!/bin/sh\n${MARK}\nexec ${command.map(quoted).join(' ')} ${PLUGIN_ENTRY} "$@"\n`;
  await writeAtomically(file, Buffer.from(text), { mode: 0o755 });
  session.terminal.err(`${file}: from now on, docker torrent pull IMAGE\n`);
}

/** @throws QuayctlError `usage` where another program has this name */
export async function uninstallPlugin(flags: { readonly system?: boolean }, session: Session): Promise<void> {
  const file = pluginFile(flags, session);
  if (!(await isAbsentOrOurs(file))) throw new QuayctlError('usage', `${file} is not ours`);
  await rm(file, { force: true });
}

function pluginFile({ system }: { readonly system?: boolean }, { env, home }: Session): string {
  const folder =
    system === true ? SYSTEM_FOLDER : join(env['DOCKER_CONFIG'] ?? `${home}/.docker`, 'cli-plugins');
  return join(folder, PLUGIN);
}

async function isAbsentOrOurs(file: string): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined) return true;
  return found.isFile() && found.size < 4096 && (await readFile(file, 'utf8')).includes(MARK);
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
