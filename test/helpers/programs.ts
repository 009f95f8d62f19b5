import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { homedir, networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where a program comes from on Debian, for those who see a test skipped. */
const PACKAGES: Readonly<Record<string, string>> = {
  aria2c: 'aria2',
  promtool: 'prometheus',
  bzip2: 'bzip2',
  containerd: 'containerd',
  'dbus-daemon': 'dbus',
  'dbus-send': 'dbus',
  debootstrap: 'debootstrap',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  groff: 'groff-base',
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
  nsenter: 'util-linux',
  'qemu-aarch64-static': 'qemu-user-static',
  unshare: 'util-linux',
  xz: 'xz-utils',
  zstd: 'zstd',
};

/**
 * Where scripts/go-programs puts what it builds: current engines and tools that Debian lacks, or has in old versions.
 * As a need of `skipWithout` they are written `go:NAME` (`go:dockerd`), so that they are not taken for Debian's.
 */
const GO_PROGRAMS = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'quayctl-engines/bin');
const GO_PREFIX = 'go:';

/** Where daemons live that are not on the PATH of every user. */
const SYSTEM_PATHS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * For the `skip` of a test: false where every program is here, else the reason. Under CI nothing may be skipped,
 * so there a missing program throws. Known besides programs: `root`, `python3-libtorrent`, and `go:NAME` for what
 * scripts/setup --engines builds.
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

/**
 * The full path of a program that `scripts/setup --engines` or `--tools` built. Daemons start others (dockerd starts
 * containerd, that runc), which they look for on the PATH: give them `goProgramsPath()`.
 */
export function engineProgram(name: string): string {
  const path = join(GO_PROGRAMS, name);
  if (!isExecutable(path)) throw new Error(`needs ${withPackage(GO_PREFIX + name)}`);
  return path;
}

/** A PATH on which the programs that Go built come before those of the system. */
export function goProgramsPath(): string {
  return [GO_PROGRAMS, process.env['PATH'] ?? '', ...SYSTEM_PATHS].join(delimiter);
}

function isHere(need: string): boolean {
  if (need.startsWith(GO_PREFIX)) return isExecutable(join(GO_PROGRAMS, need.slice(GO_PREFIX.length)));
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
  if (need.startsWith(GO_PREFIX)) {
    const name = need.slice(GO_PREFIX.length);
    return `a current ${name} (scripts/setup --tools ${name}, which needs Go)`;
  }
  const origin = PACKAGES[need];
  return origin === undefined || origin === need ? need : `${need} (Debian package ${origin})`;
}
