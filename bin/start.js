// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

// Compiled code is kept between runs, in the user's own cache: in a shared temporary folder others could plant code.
// Apart for each command, since Node keeps what the first run compiled and adds nothing later.
const { enableCompileCache } = require('node:module');
const { homedir } = require('node:os');
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const COMMANDS = new Set('docker rkt torrent pull seed serve login logout store version'.split(' '));
const command = process.argv.slice(2, 5).filter((word) => COMMANDS.has(word));
if (cache.startsWith('/')) enableCompileCache(join(cache, 'quayctl-code', command.join('-') || 'help'));

const sources = join(__dirname, '../src/cli/main.ts');
const entry = existsSync(sources)
  ? import(pathToFileURL(sources).href)
  : Promise.resolve(require('../dist/cli/main.cjs'));

void entry.then(({ main }) => main(process.argv.slice(2))).then((code) => process.exit(code));
