// Writes V8's compiled code of the bundle: run by the Node that will take it back, so that version and flags agree.
//   node --random-seed=1 compile.cjs SOURCE OUT [WORD...]
// The words are a command line: what it runs is compiled, the rest is left to be compiled when it is needed.
const { readFileSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');
const { setCompilerFlags } = require('../../bin/v8-flags.js');

const [source, out, ...words] = process.argv.slice(2);
setCompilerFlags();
const script = new Script(readFileSync(source, 'utf8'), { filename: 'main.cjs' });
const module_ = { exports: {} };
script.runInThisContext()(module_.exports, require, module_, process.execPath);
void module_.exports.main(words).then(() => {
  writeFileSync(out, script.createCachedData());
  process.exit(0);
});
