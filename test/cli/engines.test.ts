import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeProgram } from '../../src/cli/program.ts';
import type { Session } from '../../src/cli/session.ts';
import type { OciEngineEntry } from '../../src/engines/engine-entry.ts';
import type { Engine } from '../../src/engines/engine.ts';
import { ENGINES } from '../../src/engines/engines.ts';
import { TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';

/** All that a new engine is: what stands here would be a folder, `[...ENGINES, tested]` its line in the table. */
function testEngine(): { entry: OciEngineEntry; calls: unknown[] } {
  const calls: unknown[] = [];
  const engine: Engine = {
    name: 'tested',
    platform: () => Promise.resolve({ os: 'linux', architecture: 'amd64' }),
    presence: ({ manifest }) => Promise.resolve({ image: false, layers: manifest.layers.map(() => false) }),
    load: async (image, feed, { names }) => {
      for (const { digest } of image.manifest.layers) await feed.ready(digest);
      calls.push({ loaded: names.map(({ repository, tag }) => `${repository}:${tag}`) });
      return { id: image.manifest.config.digest, digestRecorded: false };
    },
  };
  const entry: OciEngineEntry = {
    name: 'tested',
    title: 'the tested engine',
    imageKind: 'oci',
    options: [{ flags: '--odd-option <word>', help: 'an option of its own', verbs: ['pull'] }],
    open: ({ options }) => {
      calls.push({ opened: options['oddOption'] });
      return Promise.resolve(engine);
    },
  };
  return { entry, calls };
}

function session(home: string): { session: Session; out: string[]; err: string[] } {
  const out: string[] = [];
  const err: string[] = [];
  return {
    out,
    err,
    session: {
      version: '0',
      terminal: {
        out: (text) => void out.push(text),
        err: (text) => void err.push(text),
        interactive: false,
        stderr: process.stderr,
        stdin: process.stdin,
      },
      env: { PATH: '/nowhere', XDG_CACHE_HOME: `${home}/cache` },
      home,
      signal: new AbortController().signal,
      settings: new Map(),
      onHangup: () => () => undefined,
      exitWith: () => undefined,
      uid: undefined,
    },
  };
}

test(
  'an engine in the table has commands, options and pulls, and nothing else names it',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const registry = await startRegistry(t);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const built = await layout.addImage({ layers: [{ entries: [{ name: 'hello', content: 'hello' }] }] });
    await pushImage(layout, built.manifest, { url: registry.url, repository: 'team/app', tag: '1' });
    const { entry, calls } = testEngine();
    const { session: here, out, err } = session(await tempDirectory(t, 'home'));
    const program = makeProgram(here, [...ENGINES, entry]);
    const image = `${registry.host}/team/app:1`;
    const argv = ['tested', 'torrent', 'pull', image, '--odd-option', 'odd', '--json'];
    await program.parseAsync(argv, { from: 'user' });
    assert.deepEqual(calls, [{ opened: 'odd' }, { loaded: ['team/app:1'] }]);
    const receipt = JSON.parse(out.join('')) as { engine: string; image: string };
    assert.equal(receipt.engine, 'tested');
    assert.equal(receipt.image, image);
    assert.match(err.join(''), /Connecting to tested/);
  },
);

test('an option of one engine is no option of another one, nor of the other verb', async (t) => {
  const { entry } = testEngine();
  const { session: here } = session(await tempDirectory(t, 'home'));
  for (const argv of [
    ['docker', 'torrent', 'pull', 'app', '--odd-option', 'odd'],
    ['tested', 'torrent', 'seed', 'app', '--odd-option', 'odd'],
    ['torrent', 'pull', 'app', '--squashed'],
    ['rkt', 'torrent', 'pull', 'quay.io/ns/app', '--record-digest'],
  ]) {
    const program = makeProgram(here, [...ENGINES, entry]);
    await assert.rejects(program.parseAsync(argv, { from: 'user' }), { code: 'commander.unknownOption' });
  }
});
