import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { mustRun, run } from '../../test/helpers/processes.ts';
import { unpackNode } from './node-package.ts';
import { ROOT } from './places.ts';
import type { Target } from './targets.ts';

/** Marks the place in Node that tells whether something was put inside (Node's documentation, "Single executable"). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const RESOURCE = 'NODE_SEA_BLOB';
/** Runs the code that every pull runs until it is on the wire; nothing listens there. */
const WARM_UP = ['torrent', 'pull', '127.0.0.1:1/quayctl/warm-up:1.0', '--quiet'];
const STRIP = { amd64: 'strip', x64: 'strip', arm64: 'aarch64-linux-gnu-strip' } as const;

/**
 * Makes one file of Node and the bundle in `dist`.
 * @param work an empty folder
 * @param root of that architecture's shared libraries, where this machine has to emulate it
 * @param file is made there, 0755
 */
export async function makeSingleFile(
  target: Target,
  { work, libraries, file }: { work: string; libraries: string | undefined; file: string },
): Promise<void> {
  await mkdir(work, { recursive: true });
  const node = await unpackNode(target.node, join(work, 'node'));
  const maker = target.maker === undefined ? node : await unpackNode(target.maker, join(work, 'maker'));
  const isForeign = target.os === 'linux' && target.architecture !== goArchitecture();
  const runMaker = async (args: readonly string[]): Promise<void> => {
    const command = isForeign ? ['qemu-aarch64-static', '-L', libraries ?? '/', maker] : [maker];
    const [program = '', ...rest] = [...command, ...args];
    const env = { PATH: process.env['PATH'], HOME: work, QUAYCTL_STORE: join(work, 'store') };
    await mustRun(program, rest, { cwd: work, env });
  };

  const assets: Record<string, string> = { 'main.cjs': 'main.cjs', 'openpgp.cjs': 'openpgp.cjs' };
  await writeModule(join(ROOT, 'dist/cli/main.cjs'), join(work, 'main.cjs'));
  await writeModule(join(ROOT, 'dist/openpgp.cjs'), join(work, 'openpgp.cjs'));
  if (target.os === 'linux') {
    // The same seed for its hash tables, the same bytes.
    await runMaker([
      '--random-seed=1',
      join(import.meta.dirname, 'compile.cjs'),
      'main.cjs',
      'main.cache',
      ...WARM_UP,
    ]);
    assets['main.cache'] = 'main.cache';
  }
  await writeLauncher(join(work, 'launcher.cjs'));
  const config = {
    main: 'launcher.cjs',
    output: 'inside.blob',
    disableExperimentalSEAWarning: true,
    // NODE_OPTIONS are meant for somebody's own programs in Node, and would be refused or obeyed by this one.
    execArgvExtension: 'none',
    assets,
  };
  await writeFile(join(work, 'sea.json'), JSON.stringify(config));
  await runMaker(['--experimental-sea-config', 'sea.json']);
  await copyFile(node, file);
  await mustRun('chmod', ['755', file]);
  if (target.os === 'linux') await mustRun(STRIP[target.architecture], [file]);
  await putInside(target, join(work, 'inside.blob'), file);
}

/** The module as a function that takes what modules get. */
async function writeModule(from: string, to: string): Promise<void> {
  const code = await readFile(from, 'utf8');
  await writeFile(to, `(function (exports, require, module, __filename) {${code}\n})`);
}

async function writeLauncher(outfile: string): Promise<void> {
  const entryPoints = [join(import.meta.dirname, 'launcher.cjs')];
  await build({ entryPoints, outfile, bundle: true, platform: 'node', format: 'cjs', minify: true });
}

async function putInside({ os }: Target, blob: string, file: string): Promise<void> {
  const postject = join(ROOT, 'node_modules/.bin/postject');
  const mac = os === 'darwin' ? ['--macho-segment-name', 'NODE_SEA'] : [];
  const { code, stdout, stderr } = await run(postject, [
    file,
    RESOURCE,
    blob,
    '--sentinel-fuse',
    FUSE,
    ...mac,
  ]);
  if (code !== 0) throw new Error(`postject ${file}: exit ${code}\n${stderr}${stdout}`);
}

function goArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}
