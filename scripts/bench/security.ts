import { loadavg } from 'node:os';
import { startClair } from '../../test/helpers/clair.ts';
import { TestLayout } from '../../test/helpers/images.ts';
import { watchMemory } from '../../test/helpers/memory.ts';
import { pushImage } from '../../test/helpers/push.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { startRegistry } from '../../test/helpers/registry.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { statusLayer } from '../../test/security/status-layer.ts';
import { openScope } from './scope.ts';

const ROUNDS = 5;
const count = Number(process.argv[2] ?? 500);
const scope = openScope();

const flaws = Array.from({ length: count }, (_, at) => ({
  name: `CVE-2026-${at}`,
  severity: ['Low', 'Medium', 'High'][at % 3] ?? '',
  ...(at % 2 === 0 ? { fixed: '+1' } : {}),
  cvss: at % 10,
  description: 'A flaw of which much is to be said. '.repeat(40),
  links: 'https://a.example/ https://b.example/',
}));
const packages = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`package-${at}`, '1.0']));
const clair = await startClair(
  scope,
  Object.fromEntries(
    Object.keys(packages).map((name, at) => [name, flaws.filter((_, of) => of % 100 === at)]),
  ),
);
const registry = await startRegistry(scope);
const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
const { manifest } = await layout.addImage({ layers: [statusLayer(packages)] });
await pushImage(layout, manifest, { url: registry.url, repository: 'app', tag: '1' });
const node = await quayctlNode(scope);

async function measure(args: readonly string[]): Promise<{ seconds: number; bytes: number }> {
  const startedAt = performance.now();
  const process_ = node.start(args);
  const bytes = await watchMemory(process_);
  const { code } = await process_.exited;
  if (code !== 0) throw new Error(process_.stderr());
  return { seconds: (performance.now() - startedAt) / 1000, bytes };
}

for (const args of [['version'], ['security', `${registry.host}/app:1`, '--clair', clair.url]]) {
  await measure(args);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await measure(args));
  const median = rounds.map(({ seconds }) => seconds).toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0;
  const most = Math.max(...rounds.map(({ bytes }) => bytes));
  console.log(
    `${args[0]}: ${median.toFixed(2)} s (median of ${ROUNDS}), ${Math.round(most / 1e6)} MB at most, load ${loadavg()[0]?.toFixed(1)}`,
  );
}
await scope.end();
