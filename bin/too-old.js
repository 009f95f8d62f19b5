// Written in the oldest JavaScript: reached on a Node that is too old for quayctl.
var fs = require('fs');
var path = require('path');
var spawn = require('child_process').spawn;

var root = path.dirname(__dirname);
// A checkout brings a Node of its own (devDependencies); the published package does not.
var own = path.join(root, 'node_modules', '.bin', 'node');

if (fs.existsSync(path.join(root, 'src')) && fs.existsSync(own)) {
  var child = spawn(own, [path.join(__dirname, 'quayctl')].concat(process.argv.slice(2)), {
    stdio: 'inherit',
  });
  ['SIGINT', 'SIGTERM', 'SIGHUP'].forEach(function (signal) {
    process.on(signal, function () {
      child.kill(signal);
    });
  });
  child.on('close', function (code) {
    process.exit(code === null ? 1 : code);
  });
} else {
  console.error('quayctl needs Node 22.19 or newer; this is Node ' + process.versions.node);
  process.exit(1);
}
