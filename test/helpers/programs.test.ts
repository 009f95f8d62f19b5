import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { engineProgram, goProgramsPath, skipWithout } from './programs.ts';

const ENGINES = {
  containerd: /2\.4\.2/,
  dockerd: /29\.7\.2/,
  runc: /1\.5\.3/,
};

for (const [name, version] of Object.entries(ENGINES)) {
  test(`${name} is the one that Go built, by path and by PATH`, { skip: skipWithout(`go:${name}`) }, () => {
    assert.match(execFileSync(engineProgram(name), ['--version'], { encoding: 'utf8' }), version);
    const env = { PATH: goProgramsPath() };
    assert.match(execFileSync(name, ['--version'], { env, encoding: 'utf8' }), version);
  });
}

test('a program that Go has not built is named with the command that builds it', () => {
  assert.throws(() => engineProgram('no-such-engine'), /scripts\/setup --tools no-such-engine/);
});
