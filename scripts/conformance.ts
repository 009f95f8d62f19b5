import { chmod } from 'node:fs/promises';
import { CHALLENGES } from '../test/conformance/challenges.ts';
import { CREDENTIALS } from '../test/conformance/credentials.ts';
import { DOCUMENTS } from '../test/conformance/documents.ts';
import { LAYERS } from '../test/conformance/layers.ts';
import { BUILT_LAYOUT_WRITERS, checkLayout, LAYOUT_WRITERS } from '../test/conformance/layout-writers.ts';
import { TRANSPORT } from '../test/conformance/transport.ts';
import { checkCase, furnish } from '../test/conformance/pull-case.ts';
import { STILL_WRONG } from '../test/conformance/still-wrong.ts';
import { oddInput, type Case, type Input } from '../test/conformance/case.ts';
import { startDockerd, type TestDockerd } from '../test/helpers/dockerd.ts';
import { oddImage } from '../test/helpers/odd-images.ts';
import { run, type Output, type Scope } from '../test/helpers/processes.ts';
import { engineProgram, programPath, skipWithout } from '../test/helpers/programs.ts';
import { tempDirectory } from '../test/helpers/temp.ts';

/** A tool that pulls the reference; its home and environment are those of the case. */
type Pull = (reference: string, env: NodeJS.ProcessEnv, scope: Scope) => Promise<Output>;

const PATIENCE_SECONDS = 90;
const TOOLS = ['docker', 'podman', 'skopeo', 'crane'] as const;

const wanted = process.argv.slice(2).map((row) => new RegExp(`^${row}(?!\\d)`));
const isWanted = (row: string): boolean => wanted.length === 0 || wanted.some((pattern) => pattern.test(row));

await withScope(async (scope) => {
  const { engine, tools } = await findTools(scope);
  const layers = LAYERS.map(({ row, name, source, layers: make }): Case => ({
    row,
    name,
    source,
    right: 'pulled',
    into: 'docker',
    set: (at) => oddInput(at, {}, { image: oddImage(make()) }),
  }));
  const cases = [...CHALLENGES, ...CREDENTIALS, ...TRANSPORT, ...DOCUMENTS, ...layers].filter(({ row }) =>
    isWanted(row),
  );
  say('+ pulled, - refused. The last column: whether quayctl does what is right.');
  say(['row', ...TOOLS, 'quayctl', ''].map(cell).join(''));
  let wrong = 0;
  for (const each of cases) {
    const marks = [];
    for (const name of TOOLS) marks.push(await markOf(tools[name], each));
    const failure = await tryOurs(each, engine);
    // of layers docker's own verdict is the right one here; what is squashed has tests alone
    const isLayer = each.row.startsWith('E');
    const outcome = isLayer && marks[0] === '-' ? undefined : failure;
    if (outcome !== undefined) wrong += 1;
    const verdict =
      outcome === undefined ? '' : STILL_WRONG.has(`${each.row}: ${each.name}`) ? 'known' : 'WRONG';
    const ours = (each.right === 'pulled') === (failure === undefined) ? '+' : '-';
    say(`${[each.row, ...marks, ours, verdict].map(cell).join('')}${each.name}`);
    if (verdict === 'WRONG') process.exitCode = 1;
    if (verdict === 'WRONG') say(`    ${String(outcome).split('\n')[0]?.slice(0, 150)}`);
  }
  const layouts = isWanted('D17') ? Object.entries({ ...LAYOUT_WRITERS, ...BUILT_LAYOUT_WRITERS }) : [];
  for (const layout of layouts) if (!(await isRightLayout(...layout))) wrong += 1;
  const all = cases.length + layouts.length;
  say(`\n${all - wrong} of ${all} right`);
});

/** `--output` into a layout that this writer has begun. */
async function isRightLayout(writer: string, write: Parameters<typeof checkLayout>[1]): Promise<boolean> {
  const missing = skipWithout(writer);
  const failure =
    missing === false ? await withScope((scope) => failureOf(checkLayout(scope, write))) : new Error(missing);
  const isRight = failure === undefined;
  const row = ['D17', ...TOOLS.map(() => ''), isRight ? '+' : '-', isRight ? '' : 'WRONG'];
  say(`${row.map(cell).join('')}--output into a layout of ${writer}`);
  if (isRight) return true;
  say(`    ${String(failure).split('\n')[0]?.slice(0, 150)}`);
  process.exitCode = 1;
  return false;
}

function failureOf(work: Promise<void>): Promise<Error | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
}

async function tryOurs(each: Case, engine: TestDockerd | undefined): Promise<Error | undefined> {
  if (each.into === 'docker' && engine === undefined) return new Error('needs Docker');
  const host = each.into === 'docker' ? engine?.dockerHost : undefined;
  return withScope((scope) => failureOf(checkCase(scope, each, host)));
}

/** Every tool gets a registry of its own: some oddities are for the first who asks. */
async function markOf(pull: Pull | undefined, { set }: Case): Promise<string> {
  if (pull === undefined) return '?';
  return withScope(async (scope) => {
    const input = await set(scope);
    const { code } = await pull(input.reference, await homeOf(scope, input), scope);
    return code === 0 ? '+' : '-';
  });
}

async function homeOf(scope: Scope, input: Input): Promise<NodeJS.ProcessEnv> {
  const home = await tempDirectory(scope, 'conformance');
  await chmod(home, 0o755);
  const furnished = await furnish(home, input);
  const own = { HOME: home, DOCKER_CONFIG: `${home}/docker`, XDG_RUNTIME_DIR: home };
  return { ...process.env, ...own, ...furnished };
}

async function findTools(
  scope: Scope,
): Promise<{ engine: TestDockerd | undefined; tools: Partial<Record<(typeof TOOLS)[number], Pull>> }> {
  const has = (...needs: string[]): boolean => skipWithout(...needs) === false;
  const bounded = (program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Output> =>
    run('timeout', [String(PATIENCE_SECONDS), program, ...args], { env });
  const engine = has('root', 'docker', 'dockerd') ? await startDockerd(scope) : undefined;
  const storage = await tempDirectory(scope, 'podman');
  const tools: Partial<Record<(typeof TOOLS)[number], Pull>> = {};
  if (engine !== undefined) {
    tools.docker = (reference, env) =>
      bounded(programPath('docker'), ['--host', engine.dockerHost, 'pull', '--quiet', reference], env);
  }
  if (has('root', 'podman')) {
    const flags = [`--root=${storage}/root`, `--runroot=${storage}/run`, '--storage-driver=vfs'];
    tools.podman = (reference, env) =>
      bounded(programPath('podman'), [...flags, 'pull', '--quiet', '--tls-verify=false', reference], env);
  }
  if (has('skopeo')) {
    tools.skopeo = async (reference, env, at) => {
      const folder = await tempDirectory(at, 'skopeo');
      const flags = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
      return bounded(programPath('skopeo'), [...flags, `docker://${reference}`, `dir:${folder}`], env);
    };
  }
  if (has('go:crane')) {
    tools.crane = async (reference, env, at) => {
      const folder = await tempDirectory(at, 'crane');
      return bounded(
        engineProgram('crane'),
        ['pull', '--insecure', '--format=oci', reference, `${folder}/oci`],
        env,
      );
    };
  }
  return { engine, tools };
}

/** What a test's context is to its helpers. */
async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const ends: (() => void | Promise<void>)[] = [];
  try {
    return await work({ after: (end) => void ends.push(end) });
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

function cell(text: string): string {
  return text.padEnd(8);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
