import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startDockerd } from '../../test/helpers/dockerd.ts';
import { TestLayout } from '../../test/helpers/images.ts';
import type { LayerSpec } from '../../test/helpers/layers.ts';
import type { Scope } from '../../test/helpers/processes.ts';
import { pushImage } from '../../test/helpers/push.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { receiptOf } from '../../test/helpers/stage.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import { openFarNetwork } from './far-network.ts';
import { startFarRegistry } from './far-registry.ts';
import { startFarService } from './far-service.ts';
import { openScope } from './scope.ts';

const HELP = `One node pulls an image of ten layers, in which each layer writes over files of the one below, into Docker:
layered, and squashed, over the same link, in one run. Cold: the service has not seen the image. Warm: it has.

  scripts/bench/squashed [--rate 320mbit] [--size MIB]

--rate   what the link to the registry and the service carries (320mbit is 40 MB/s)
--size   of all layers together, MiB before compression
Needs root, dockerd, docker-registry, ip and tc.
`;

const LAYERS = 10;
/** Of each layer's files so many are also in every other one. */
const OVERWRITTEN = 0.7;

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '320mbit' },
    size: { type: 'string', default: '200' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const scope = openScope();
  try {
    await bench(scope, values.rate, Number(values.size));
  } finally {
    await scope.end();
  }
}

async function bench(scope: Scope, rate: string, sizeMiB: number): Promise<void> {
  const network = await openFarNetwork(scope, rate);
  const registry = await startFarRegistry(scope, network);
  const layout = await TestLayout.create(await tempDirectory(scope, 'bench'));
  const layers = Array.from({ length: LAYERS }, (_, layer) => layerOf(layer, sizeMiB / LAYERS));
  const image = await layout.addImage({ layers });
  await pushImage(layout, image.manifest, { url: `http://${registry}`, repository: 'bench/ten', tag: '1' });
  const dockerd = await startDockerd(scope);
  const program = await installBundle(scope);
  const service = await startFarService(scope, network, registry, program);
  const cache = await tempDirectory(scope, 'code');

  const pull = async (...flags: readonly string[]): Promise<string> => {
    const env = { DOCKER_HOST: dockerd.dockerHost, XDG_CACHE_HOME: cache };
    const node = await quayctlNode(scope, { env, program });
    const started = performance.now();
    const output = await node.run(
      [
        'docker',
        'torrent',
        'pull',
        `${registry}/bench/ten:1`,
        '--json',
        '--insecure',
        '--torrent-service',
        service,
      ].concat(flags),
    );
    const seconds = (performance.now() - started) / 1000;
    const { total } = receiptOf(output);
    await dockerd.docker('system', 'prune', '--all', '--force');
    await rm(node.home, { recursive: true, force: true });
    return `${seconds.toFixed(1)} s, ${((total.size - total.fromStore) / 1e6).toFixed(1)} MB`;
  };
  // The first run of the program fills the cache of compiled code.
  await quayctlNode(scope, { env: { XDG_CACHE_HOME: cache }, program }).then((node) => node.run(['version']));
  process.stdout.write(`link ${rate}; ${LAYERS} layers of ${sizeMiB / LAYERS} MiB\n`);
  process.stdout.write(`layered, cold   ${await pull()}\n`);
  process.stdout.write(`layered, warm   ${await pull()}\n`);
  process.stdout.write(`squashed, cold  ${await pull('--squashed')}\n`);
  process.stdout.write(`squashed, warm  ${await pull('--squashed')}\n`);
}

/** Half of it compresses, as in real images. */
function layerOf(layer: number, sizeMiB: number): LayerSpec {
  const files = Math.max(1, Math.round(sizeMiB));
  return {
    entries: Array.from({ length: files }, (_, file) => ({
      name: file < files * OVERWRITTEN ? `shared/file${file}` : `layer${layer}/file${file}`,
      content:
        file % 2 === 0
          ? { random: 1 << 20, seed: `${layer}-${file}` }
          : `of ${layer}, compressible\n`.repeat(43_000),
    })),
  };
}
