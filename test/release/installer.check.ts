import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { RELEASE } from '../../scripts/packaging/places.ts';
import { mustRun, run, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { artefact, releasedVersion } from './artefacts.ts';

const INSTALLER = (): string => artefact('install.sh');

/** The release as a web server gives it. @returns the URL of its folder */
async function served(scope: Scope, answer?: RequestListener): Promise<string> {
  const server = createServer((request, response) => {
    const path = join(RELEASE, basename(request.url ?? ''));
    if (answer !== undefined && request.url?.endsWith('SHA256SUMS') === false) answer(request, response);
    else
      createReadStream(path)
        .on('error', () => response.writeHead(404).end())
        .pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}/v1`;
}

test('install.sh puts the program for this machine into place', async (t) => {
  const from = await served(t);
  const folder = await tempDirectory(t, 'install');
  for (const round of ['new', 'over the one before']) {
    const said = await mustRun('sh', [INSTALLER(), '--from', from, '--to', folder]);
    assert.match(said, new RegExp(`^${folder}/quayctl is quayctl `), round);
  }
  assert.deepEqual(await readdir(folder), ['quayctl']);
  assert.equal(await mustRun(join(folder, 'quayctl'), ['version']), `quayctl ${releasedVersion()}\n`);
});

test('install.sh keeps what was there when the download is damaged', async (t) => {
  const from = await served(t, (_, response) => void response.end('something else'));
  const folder = await tempDirectory(t, 'install');
  await writeFile(join(folder, 'quayctl'), 'the one before');
  const { code, stderr } = await run('sh', [INSTALLER(), '--from', from, '--to', folder]);
  assert.equal(code, 1);
  assert.match(stderr, /damaged on the way: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}/);
  assert.equal(await readFile(join(folder, 'quayctl'), 'utf8'), 'the one before');
  assert.deepEqual(await readdir(folder), ['quayctl']);
});

test('install.sh takes nothing over plain HTTP from another machine', async (t) => {
  const folder = await tempDirectory(t, 'install');
  for (const from of ['http://192.0.2.1/', 'http://127.0.0.1.example.com/', 'ftp://127.0.0.1/']) {
    const { code, stderr } = await run('sh', [INSTALLER(), '--from', from, '--to', folder]);
    assert.equal(code, 1, from);
    assert.match(stderr, /expected https/, from);
  }
});

test('install.sh that breaks off in the middle runs nothing', async (t) => {
  const whole = await readFile(INSTALLER(), 'utf8');
  const half = whole.slice(0, whole.lastIndexOf('\nmain '));
  const folder = await tempDirectory(t, 'install');
  const { code, stdout } = await run('sh', ['-s', '--', '--from', 'https://127.0.0.1/', '--to', folder], {
    input: half,
  });
  assert.deepEqual([code, stdout], [0, '']);
  assert.deepEqual(await readdir(folder), []);
});
