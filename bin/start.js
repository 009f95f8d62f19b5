// The bundle where there is one (the published package), else the sources (a checkout; Node strips the types).
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const entries = ['../dist/cli/main.js', '../src/cli/main.ts'].map((path) => join(__dirname, path));
const entry = entries.find(existsSync);

void import(pathToFileURL(entry).href)
  .then(({ main }) => main(process.argv.slice(2)))
  .then((code) => process.exit(code));
