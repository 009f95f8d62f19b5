// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

// Compiled code is kept between runs, in the user's own cache: in a shared temporary folder others could plant code.
const { enableCompileCache } = require('node:module');
const { homedir } = require('node:os');
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
if (cache.startsWith('/')) enableCompileCache(join(cache, 'quayctl-code'));

const sources = join(__dirname, '../src/cli/main.ts');
const entry = existsSync(sources)
  ? import(pathToFileURL(sources).href)
  : Promise.resolve(require('../dist/cli/main.cjs'));

void entry.then(({ main }) => main(process.argv.slice(2))).then((code) => process.exit(code));
