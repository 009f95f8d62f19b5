// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { homedir } = require('node:os');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');
const { setCompilerFlags, setHeapFlags } = require('./v8-flags.js');

const SOURCES = join(__dirname, '../src/cli/main.ts');
const BUNDLE = join(__dirname, '../dist/cli/main.cjs');

setCompilerFlags();
setHeapFlags(process.argv.slice(2));

function load() {
  if (existsSync(SOURCES)) return import(pathToFileURL(SOURCES).href);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  if (cache.startsWith('/')) require('./compile-cache.js').enableOwnCompileCache(join(cache, 'quayctl-code'));
  return require(BUNDLE);
}

void Promise.resolve(load())
  .then(({ main }) => main(process.argv.slice(2)))
  .then((code) => process.exit(code));
