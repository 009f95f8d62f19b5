import { startDockerd } from '../test/helpers/dockerd.ts';
import { removeTree, tempDirectory } from '../test/helpers/temp.ts';
import { compareWithOverlay } from '../test/layers/overlay-check.ts';
import { openScope } from './bench/scope.ts';

/** Of one image: each is loaded, mounted and unpacked as a whole. */
const AT_ONCE = 200;

const count = Number(process.argv[2] ?? 2000);
const seed = Number(process.argv[3] ?? Math.floor(Date.now() / 1000));
const scope = openScope();
try {
  const dockerd = await startDockerd(scope);
  let total = 0;
  for (let from = 0; from < count; from += AT_ONCE) {
    const directory = await tempDirectory(scope, 'stacks');
    const seeds = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, at) => seed + from + at);
    const { paths } = await compareWithOverlay(dockerd, seeds, directory);
    total += paths;
    await removeTree(directory);
    process.stdout.write(`${from + seeds.length} stacks, ${total} paths: the same (seed ${seed})\n`);
  }
} finally {
  await scope.end();
}
