// Loads a bundle with the code that an earlier run compiled. Node's own compile cache holds what is compiled before a
// file runs; here it is what has been compiled by the end of a run, every function that was called, so that starting
// a pull takes half of the processor time (scripts/bench/start).
const { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname, join } = require('node:path');
const vm = require('node:vm');
const { crc32 } = require('node:zlib');

/**
 * @param file a bundle in CommonJS
 * @param directory the user's own: in a shared one others could plant code
 * @param name which of the program's ways: each calls other functions
 */
exports.loadCached = (file, directory, name) => {
  const source = readFileSync(file, 'latin1');
  const path = join(directory, `${name}-${process.version}-${process.arch}-${crc32(source)}`);
  const cachedData = readQuietly(path);
  const script = new vm.Script(wrap(source), {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  if (cachedData === undefined || script.cachedDataRejected === true) {
    process.once('exit', () => writeQuietly(directory, path, script.createCachedData()));
  }
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(file), module, file, dirname(file));
  return module.exports;
};

function readQuietly(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** A cache that cannot be written costs time and nothing else. */
function writeQuietly(directory, path, bytes) {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, bytes, { mode: 0o600 });
    renameSync(draft, path);
  } catch {}
}
