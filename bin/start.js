// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');
const { setFlagsFromString } = require('node:v8');

const SOURCES = join(__dirname, '../src/cli/main.ts');
const BUNDLE = join(__dirname, '../dist/cli/main.cjs');
const COMMANDS = new Set('docker rkt torrent pull seed serve login logout store version'.split(' '));

const command = process.argv.slice(2, 5).filter((word) => COMMANDS.has(word));

// Before any code is loaded: V8 takes compiled code back only under the flags under which it was made.
// HTTP is read by a WebAssembly parser whose optimised twin costs more to make than a pull ever gains by it.
const flags = ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'];
// Blocks die young, the tree of a large image lives long, and V8 lets the space for the young grow to 100 MB beside it.
if (command.includes('torrent') || command.includes('serve')) flags.push('--semi-space-growth-factor=1');
for (const flag of flags) setFlagsFromString(flag);

function load() {
  if (existsSync(SOURCES)) return import(pathToFileURL(SOURCES).href);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  if (cache.startsWith('/')) require('./compile-cache.js').enableOwnCompileCache(join(cache, 'quayctl-code'));
  return require(BUNDLE);
}

void Promise.resolve(load())
  .then(({ main }) => main(process.argv.slice(2)))
  .then((code) => process.exit(code));
