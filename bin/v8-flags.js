// V8's flags for a program that starts often and lives short, or long beside large downloads.
const { setFlagsFromString } = require('node:v8');

/** Commands that move blobs. */
const MOVERS = new Set(['pull', 'seed', 'torrent', 'serve', 'mirror']);

/** Before any code is loaded: V8 takes compiled code back only under the flags under which it was made. */
exports.setCompilerFlags = () => {
  // HTTP is read by a WebAssembly parser whose optimised twin costs more to make than a pull ever gains by it.
  for (const flag of ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'])
    setFlagsFromString(flag);
};

/** Blocks die young, the tree of a large image lives long, and V8 lets the space for the young grow to 100 MB beside it. */
exports.setHeapFlags = (words) => {
  if (words.slice(0, 3).some((word) => MOVERS.has(word))) setFlagsFromString('--semi-space-growth-factor=1');
};
