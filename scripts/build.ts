import { build, type Plugin } from 'esbuild';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildPage } from '../src/admin/build-page.ts';
import { releaseVersion } from './packaging/release-version.ts';
import { bundledPackages, cycloneDx, licensesText, type BundledPackage } from './bundled-packages.ts';

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
    // The tracker of `serve` is HTTP alone; UDP's parser would bring `ip`, whose known holes nobody mends
    // (CVE-2024-29415).
    context.onResolve({ filter: /\/parse-udp\.js$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    // The page of the admin listener is built here, ahead of time.
    context.onResolve({ filter: /\/build-page\.ts$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    context.onLoad({ filter: /^/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/**
 * undici has a browser's fetch, WebSockets, caches and mocks behind its one door; of all that quayctl uses connections,
 * and loading the rest would take a third of the time until a pull is on the wire.
 */
const slimUndici: Plugin = {
  name: 'slim-undici',
  setup(context) {
    context.onResolve({ filter: /^undici$/ }, () => ({ path: 'undici', namespace: 'slim' }));
    context.onLoad({ filter: /^/, namespace: 'slim' }, () => ({
      // as an ES module, so that esbuild refuses what is imported and not named here
      contents: `
        import Dispatcher from 'undici/lib/dispatcher/dispatcher';
        import * as api from 'undici/lib/api';
        Object.assign(Dispatcher.prototype, api.default);
        export { default as Agent } from 'undici/lib/dispatcher/agent';
        export { default as ProxyAgent } from 'undici/lib/dispatcher/proxy-agent';
        export { default as buildConnector } from 'undici/lib/core/connect';`,
      resolveDir: ROOT,
    }));
  },
};

/**
 * Parts of Node that most runs never use, though libraries name them first thing: loaded when they are called. undici
 * is told that there is no HTTP/2, which it is not allowed to speak.
 */
const lazyNode: Plugin = {
  name: 'lazy-node',
  setup(context) {
    context.onResolve({ filter: /^(?:node:)?child_process$/ }, ({ namespace }) =>
      namespace === 'lazy'
        ? { path: 'node:child_process', external: true }
        : { path: 'child_process', namespace: 'lazy' },
    );
    context.onResolve({ filter: /^node:http2$/ }, () => ({ path: 'http2', namespace: 'lazy' }));
    context.onLoad({ filter: /^child_process$/, namespace: 'lazy' }, () => ({
      contents: `
        const names = ['spawn', 'execFile', 'fork', 'exec', 'spawnSync', 'execFileSync', 'execSync'];
        for (const name of names) exports[name] = (...given) => require('node:child_process')[name](...given);
        // What util.promisify makes of these two gives { stdout, stderr }, which their callbacks do not tell it.
        const { promisify } = require('node:util');
        for (const name of ['execFile', 'exec'])
          exports[name][promisify.custom] = (...given) => promisify(require('node:child_process')[name])(...given);`,
    }));
    context.onLoad({ filter: /^http2$/, namespace: 'lazy' }, () => ({ contents: 'exports.constants = {};' }));
  },
};

/** Under the LGPL: a file of its own beside the bundle, as its authors made it, which anybody may put another in place of. */
const OPENPGP = 'openpgp/dist/node/openpgp.cjs';
const apartOpenpgp: Plugin = {
  name: 'apart-openpgp',
  setup(context) {
    context.onResolve({ filter: /^openpgp$/ }, () => ({ path: 'openpgp', namespace: 'apart' }));
    context.onResolve({ filter: /^\.\.\/openpgp\.cjs$/ }, ({ path }) => ({ path, external: true }));
    context.onLoad({ filter: /^/, namespace: 'apart' }, () => ({
      contents: "module.exports = require('../openpgp.cjs');",
    }));
  },
};

const { version, commit } = await releaseVersion(ROOT);
// Not what scripts/release has made of an earlier one.
for (const name of ['cli', 'openpgp.cjs', 'LICENSES.txt', 'sbom.cdx.json'])
  await rm(join(OUT, name), { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: ROOT,
  entryPoints: ['src/cli/main.ts'],
  // as deep as the sources, so that import.meta.url leads from both to package.json
  outfile: join(OUT, 'cli/main.cjs'),
  bundle: true,
  // One file in CommonJS: ES modules of Node's own would be read name by name, which loads half of Node (70 ms), and
  // each part of a split bundle costs a look-up. What is imported later is still evaluated later.
  format: 'cjs',
  platform: 'node',
  target: 'node22.19',
  external: EXTERNAL,
  plugins: [leaveOut, slimUndici, lazyNode, apartOpenpgp],
  legalComments: 'none',
  metafile: true,
  minifySyntax: true,
  minifyWhitespace: true,
  define: { 'import.meta.url': 'quayctlUrl', QUAYCTL_BUILD: JSON.stringify({ version, commit }) },
  banner: { js: "const quayctlUrl = require('node:url').pathToFileURL(__filename).href;" },
});
await copyFile(join(ROOT, 'node_modules', OPENPGP), join(OUT, 'openpgp.cjs'));
const page = await buildPage();
await writeFile(join(OUT, 'page.html'), page.html);
const inputs = { ...metafile.inputs, ...page.metafile.inputs };
const packages = await bundledPackages(ROOT, { inputs }, [join('node_modules', OPENPGP)]);
await writeFile(join(OUT, 'LICENSES.txt'), licensesText(packages));
const self = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as BundledPackage;
await writeFile(join(OUT, 'sbom.cdx.json'), cycloneDx({ ...self, version }, packages));

const outputs = [...Object.values(metafile.outputs), { bytes: page.html.length }];
const megabytes = outputs.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
process.stdout.write(`dist: ${outputs.length} files, ${megabytes.toFixed(1)} MB\n`);
