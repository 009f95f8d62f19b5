import { build, type Metafile, type Plugin } from 'esbuild';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const OUT = join(ROOT, 'dist');

/**
 * Never used by quayctl, though libraries ask for them: WebRTC (peers meet over TCP), Docker over ssh, BuildKit's
 * gRPC session, and compiled speed-ups that have a twin in JavaScript.
 */
const LEFT_OUT = [
  '@grpc/grpc-js',
  '@grpc/proto-loader',
  'bufferutil',
  'node-datachannel',
  'ssh2',
  'utf-8-validate',
  'utp-native',
  'webrtc-polyfill',
];

/** Found at run time where npm could install it; `login` says so where not. */
const EXTERNAL = ['keytar'];

/** Imports of what is left out give an empty object. */
const leaveOut: Plugin = {
  name: 'leave-out',
  setup(context) {
    const names = new RegExp(`^(?:${LEFT_OUT.join('|')})(?:/|$)`);
    context.onResolve({ filter: names }, ({ path }) => ({ path, namespace: 'left-out' }));
    context.onLoad({ filter: /^/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};' }));
  },
};

await rm(OUT, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: ['src/cli/main.ts'],
  outbase: 'src',
  outdir: OUT,
  // parts lie as deep as the entry, so that import.meta.url leads from both to package.json
  chunkNames: 'parts/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.19',
  external: EXTERNAL,
  plugins: [leaveOut],
  legalComments: 'none',
  metafile: true,
  minifySyntax: true,
  minifyWhitespace: true,
  // libraries in CommonJS ask for Node's modules by require
  banner: {
    js: "import { createRequire as quayctlRequire } from 'node:module'; const require = quayctlRequire(import.meta.url);",
  },
});
await writeFile(join(OUT, 'LICENSES.txt'), await licenses(metafile));

const outputs = Object.values(metafile.outputs);
const megabytes = outputs.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
process.stdout.write(`dist: ${outputs.length} files, ${megabytes.toFixed(1)} MB\n`);

/** The bundle contains these libraries, so their notices travel with it. */
async function licenses(bundle: Metafile): Promise<string> {
  const folders = Object.keys(bundle.inputs).flatMap(
    (path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? [],
  );
  const notices: string[] = [];
  for (const folder of [...new Set(folders)].toSorted()) {
    const manifest = JSON.parse(await readFile(join(ROOT, folder, 'package.json'), 'utf8')) as {
      name: string;
      version: string;
      license?: string;
    };
    const file = (await readdir(join(ROOT, folder))).find((name) => /^(?:licen[cs]e|copying)/i.test(name));
    const text = file === undefined ? '' : (await readFile(join(ROOT, folder, file), 'utf8')).trim();
    notices.push(`${manifest.name} ${manifest.version} (${manifest.license ?? 'see below'})\n\n${text}\n`);
  }
  return notices.join(`\n${'-'.repeat(80)}\n\n`);
}
