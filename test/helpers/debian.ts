import { access, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mustRun } from './processes.ts';
import { programPath } from './programs.ts';
import { removeTree } from './temp.ts';

const CACHE = join(tmpdir(), `quayctl-cache-${process.getuid?.() ?? 0}`);
/** debootstrap takes 25 s, on a slow mirror some minutes; a lock older than this was left by a killed run. */
const LOCK_STALE_MS = 10 * 60_000;
const ASK_EVERY_MS = 250;

/**
 * The tar of a real Debian root file system (about 200 MB), made once and kept for later runs. Needs root and
 * debootstrap: `skipWithout('root', 'debootstrap')`. The mirror is the one that this machine's apt uses.
 */
export async function debianRootTar(): Promise<string> {
  const suite = await debianSuite();
  const tar = join(CACHE, `debian-${suite}.tar`);
  await mkdir(CACHE, { recursive: true, mode: 0o700 });
  await locked(`${tar}.lock`, async () => {
    if (!(await exists(tar))) await makeRootTar(suite, tar);
  });
  return tar;
}

async function makeRootTar(suite: string, tar: string): Promise<void> {
  const root = join(CACHE, `root-${process.pid}`);
  const partial = `${tar}.partial-${process.pid}`;
  try {
    await mustRun(programPath('debootstrap'), ['--variant=minbase', suite, root, await aptMirror()]);
    await rm(join(root, 'var/cache/apt/archives'), { recursive: true, force: true });
    await mustRun('tar', [
      '--numeric-owner',
      '--sort=name',
      '--one-file-system',
      '-C',
      root,
      '-cf',
      partial,
      '.',
    ]);
    await rename(partial, tar);
  } finally {
    await removeTree(root);
    await rm(partial, { force: true });
  }
}

/** The first mirror in apt's sources, in the one-line or the deb822 form. */
async function aptMirror(): Promise<string> {
  const folder = '/etc/apt/sources.list.d';
  const more = (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
  for (const file of ['/etc/apt/sources.list', ...more]) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const found = /^(?:deb (?:\[[^\]]*\] )?|URIs:\s*)(https?:\/\/\S+)/m.exec(text);
    if (found?.[1] !== undefined) return found[1];
  }
  throw new Error('apt knows no mirror');
}

async function debianSuite(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8');
  const found = /^VERSION_CODENAME=(\S+)/m.exec(release);
  if (found?.[1] === undefined) throw new Error('os-release names no Debian suite');
  return found[1];
}

/** One process at a time; test files run in parallel. */
async function locked(path: string, work: () => Promise<void>): Promise<void> {
  while (!(await taken(path))) {
    const age = Date.now() - (await stat(path).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (age > LOCK_STALE_MS) await rm(path, { recursive: true, force: true });
    await sleep(ASK_EVERY_MS);
  }
  try {
    await work();
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

const taken = (path: string): Promise<boolean> =>
  mkdir(path).then(
    () => true,
    () => false,
  );

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
