// The first code of a single executable: takes the bundle and its compiled code out of the file itself.
const { getAsset, getRawAsset } = require('node:sea');
const { Script } = require('node:vm');
const { setCompilerFlags, setHeapFlags } = require('../../bin/v8-flags.js');

const words = process.argv.slice(2);

setCompilerFlags();
const { main } = load('main.cjs', 'main.cache');
setHeapFlags(words);
void main(words).then((code) => process.exit(code));

/** @returns what the module exports; without its compiled code, or with one that V8 does not take, it only loads slower */
function load(name, compiled) {
  const text = getAsset(name, 'utf8');
  const cachedData = compiled === undefined ? undefined : asset(compiled);
  const module = { exports: {} };
  const run = new Script(text, { filename: name, cachedData }).runInThisContext();
  // Libraries that are no part of the bundle's one file stand in this one, too.
  const requireHere = (id) => (id === '../openpgp.cjs' ? load('openpgp.cjs') : require(id));
  run(module.exports, requireHere, module, process.execPath);
  return module.exports;
}

function asset(name) {
  try {
    return Buffer.from(getRawAsset(name));
  } catch {
    return undefined;
  }
}
