const { lstatSync, mkdirSync, readdirSync } = require('node:fs');
const { enableCompileCache } = require('node:module');
const { join } = require('node:path');

/**
 * Lets Node keep what it compiles, which halves the processor time until a pull is on the wire.
 * Whoever may write there could plant code that this user then runs, so a directory that is not this user's alone is
 * passed over: that costs time and nothing else.
 * @param directory absolute; made if it is not there
 */
exports.enableOwnCompileCache = (directory) => {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (isOwn(directory)) enableCompileCache(directory);
  } catch {
    // no place to write, or none to look
  }
};

/** Whether the directory and all in it is of this user, no link, and not open to the writing of others. */
function isOwn(path) {
  const stat = lstatSync(path);
  if (stat.uid !== process.geteuid() || (stat.mode & 0o022) !== 0) return false;
  if (stat.isFile()) return true;
  return stat.isDirectory() && readdirSync(path).every((name) => isOwn(join(path, name)));
}
