import { createReadStream } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { parseDigest, type Digest } from '../../src/image/digest.ts';
import type { SourceImage } from '../../src/serve/derived/recipe.ts';
import { writeDockerArchive } from '../../src/serve/squash/docker-archive.ts';
import { buildLayer, type LayerEntry } from '../../test/helpers/layers.ts';
import { mustRun } from '../../test/helpers/processes.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { openScope } from './scope.ts';

const HELP = `Squashes an image of many files, as \`quayctl serve\` does, in a process of its own, and prints its time
and the most memory that it had (VmHWM of /proc/self/status). The layers are made before, and take disk.

  scripts/bench/merge [--files 300000] [--mb 10000] [--layers 4]

--files   of all layers together
--mb      bytes of all files together; most of them compress well
--layers  the upper ones write over a tenth of the files of the lowest
`;

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '300000' },
    mb: { type: 'string', default: '10000' },
    layers: { type: 'string', default: '4' },
    squash: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else if (values.squash !== undefined) await squash(values.squash.split(','));
else await build(Number(values.files), Number(values.mb), Number(values.layers));

async function build(files: number, megabytes: number, layerCount: number): Promise<void> {
  const scope = openScope();
  try {
    const folder = await tempDirectory(scope, 'merge');
    const each = Math.ceil(files / layerCount);
    const bytes = Math.ceil((megabytes * 1e6) / files);
    const layers: string[] = [];
    for (let layer = 0; layer < layerCount; layer++) {
      const built = await buildLayer(folder, { entries: entriesOf(layer, each, bytes) });
      layers.push(`${built.path}@${built.diffId}`);
      process.stderr.write(
        `layer ${layer + 1} of ${layerCount}: ${(built.size / 1e6).toFixed(0)} MB packed\n`,
      );
    }
    process.stdout.write(
      await mustRun(process.execPath, [import.meta.filename, '--squash', layers.join(',')]),
    );
  } finally {
    await scope.end();
  }
}

/** A tenth of a layer's files are those of the lowest one. */
function entriesOf(layer: number, count: number, bytes: number): LayerEntry[] {
  const content = Buffer.concat([Buffer.from(`of layer ${layer}\n`), Buffer.alloc(bytes)]).subarray(0, bytes);
  return Array.from({ length: count }, (_, at) => {
    const owner = at % 10 === 0 ? 0 : layer;
    return {
      name: `usr/lib/package-${owner}/directory-${Math.floor(at / 12)}/some-file-name-${at}.py`,
      content,
    };
  });
}

/** @param layers as `PATH@DIFF_ID` */
async function squash(layers: readonly string[]): Promise<void> {
  // As `quayctl serve` has it.
  setFlagsFromString('--semi-space-growth-factor=1');
  const source: SourceImage = {
    digest: `sha256:${'0'.repeat(64)}` as Digest,
    manifest: {
      kind: 'manifest',
      mediaType: '',
      config: { mediaType: '', digest: '' as Digest, size: 0 },
      layers: [],
    },
    config: { os: 'linux', architecture: 'amd64', diffIds: [], bytes: Buffer.from('{"config":{}}') },
    layers: layers.map((layer) => {
      const [path = '', diffId = ''] = layer.split('@');
      return { name: path, diffId: parseDigest(diffId), open: async () => createReadStream(path) };
    }),
  };
  const target = join(layers[0] ?? '', '../squashed.tar');
  const started = performance.now();
  await writeDockerArchive(source, 'bench/merge:1.squash', target, AbortSignal.timeout(3_600_000));
  const seconds = (performance.now() - started) / 1000;
  const { size } = await stat(target);
  await rm(target);
  const [, peak = ''] = /VmHWM:\s*(\d+) kB/.exec(await readFile('/proc/self/status', 'utf8')) ?? [];
  process.stdout.write(
    `${layers.length} layers squashed in ${seconds.toFixed(1)} s, ${(size / 1e6).toFixed(0)} MB packed; ` +
      `at most ${(Number(peak) / 1000).toFixed(0)} MB of memory\n`,
  );
}
