// The sources in a checkout (Node strips the types), else the bundle: the published package has no sources.
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const entries = ['../src/cli/main.ts', '../dist/cli/main.js'].map((path) => join(__dirname, path));
const entry = entries.find(existsSync);

void import(pathToFileURL(entry).href)
  .then(({ main }) => main(process.argv.slice(2)))
  .then((code) => process.exit(code));
