// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

// Compiled code is kept between runs, in the user's own cache: in a shared temporary folder others could plant code.
const { enableCompileCache } = require('node:module');
const { homedir } = require('node:os');
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
if (cache.startsWith('/')) enableCompileCache(join(cache, 'quayctl-code'));

const entries = ['../src/cli/main.ts', '../dist/cli/main.js'].map((path) => join(__dirname, path));
const entry = entries.find(existsSync);

void import(pathToFileURL(entry).href)
  .then(({ main }) => main(process.argv.slice(2)))
  .then((code) => process.exit(code));
