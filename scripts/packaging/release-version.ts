import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Which commit is built, and what it is called. The same commit gives the same facts on every machine. */
export interface ReleaseVersion {
  /** Semantic Versioning: that of the tag `vX.Y.Z`, or `X.Y.Z-dev.gCOMMIT` of a commit that has none. */
  readonly version: string;
  /** 40 hexadecimal digits; empty where there is no git. */
  readonly commit: string;
  /** When the commit was made, in seconds since 1970: the time of every file in every artefact. */
  readonly epoch: number;
}

/** Whole seconds that no commit is older than, for a tree without git. */
const NO_COMMIT_EPOCH = 1_700_000_000;

/**
 * @param root of the checkout
 * @throws where the tag and package.json say different versions
 */
export async function releaseVersion(root: string): Promise<ReleaseVersion> {
  const { version: next } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const git = async (...args: readonly string[]): Promise<string> =>
    run('git', args, { cwd: root }).then(
      ({ stdout }) => stdout.trim(),
      () => '',
    );
  const commit = await git('rev-parse', 'HEAD');
  if (commit === '') return { version: `${next}-dev`, commit, epoch: NO_COMMIT_EPOCH };
  const epoch = Number(await git('show', '--no-patch', '--format=%ct', 'HEAD'));
  const changed = (await git('status', '--porcelain', '--untracked-files=no')) !== '';
  const tag = await git('describe', '--exact-match', '--tags', '--match', 'v[0-9]*', 'HEAD');
  if (tag !== '' && tag !== `v${next}`)
    throw new Error(`the tag is ${tag} and package.json says ${next}: one of them is wrong`);
  const suffix = changed ? '.changed' : '';
  const version = tag !== '' && !changed ? next : `${next}-dev.g${commit.slice(0, 12)}${suffix}`;
  return { version, commit, epoch };
}
