import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where a program comes from on Debian, for those who see a test skipped. */
const PACKAGES: Readonly<Record<string, string>> = {
  aria2c: 'aria2',
  bzip2: 'bzip2',
  'dbus-daemon': 'dbus',
  'dbus-send': 'dbus',
  debootstrap: 'debootstrap',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  gpg: 'gnupg',
  gpgconf: 'gnupg',
  faketime: 'faketime',
  'gnome-keyring-daemon': 'gnome-keyring',
  htpasswd: 'apache2-utils',
  ip: 'iproute2',
  iptables: 'iptables',
  opentracker: 'opentracker',
  podman: 'podman',
  'python3-libtorrent': 'python3-libtorrent',
  skopeo: 'skopeo',
  'transmission-daemon': 'transmission-daemon',
  'transmission-show': 'transmission-cli',
  umoci: 'umoci',
  unshare: 'util-linux',
  xz: 'xz-utils',
  zstd: 'zstd',
};

/** Where daemons live that are not on the PATH of every user. */
const SYSTEM_PATHS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * For the `skip` of a test: false where every program is here, else the reason. Under CI nothing may be skipped,
 * so there a missing program throws. `root` and `python3-libtorrent` are known besides programs.
 */
export function skipWithout(...needs: readonly string[]): string | false {
  const missing = needs.filter((need) => !isHere(need));
  if (missing.length === 0) return false;
  const reason = `needs ${missing.map(withPackage).join(', ')}`;
  if (process.env['CI'] === 'true') throw new Error(`${reason}; under CI no test is skipped`);
  return reason;
}

/** A need of tests that look from another host than loopback. */
export const OUTSIDE_ADDRESS = 'an IPv4 address that is not loopback';

export function outsideAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

/** The full path of a program, sbin included. */
export function programPath(program: string): string {
  const path = findProgram(program);
  if (path === undefined) throw new Error(`needs ${withPackage(program)}`);
  return path;
}

function isHere(need: string): boolean {
  if (need === OUTSIDE_ADDRESS) return outsideAddress() !== undefined;
  if (need === 'root') return process.getuid?.() === 0;
  if (need === 'python3-libtorrent')
    return spawnSync('/usr/bin/python3', ['-c', 'import libtorrent']).status === 0;
  return findProgram(need) !== undefined;
}

function findProgram(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_PATHS];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function withPackage(need: string): string {
  const origin = PACKAGES[need];
  return origin === undefined || origin === need ? need : `${need} (Debian package ${origin})`;
}
