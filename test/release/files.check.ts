import assert from 'node:assert/strict';
import { open, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { RELEASE, ROOT } from '../../scripts/packaging/places.ts';
import { fileNameOf, TARGETS } from '../../scripts/packaging/targets.ts';
import { releaseVersion } from '../../scripts/packaging/release-version.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { artefact, names, releasedVersion } from './artefacts.ts';

/** The first bytes that every loader looks at, and where they say for which processor the program is. */
const FORMATS: Readonly<Record<string, RegExp>> = {
  'linux-amd64': /^7f454c460201.{20}02003e00/,
  'linux-arm64': /^7f454c460201.{20}0[23]00b700/,
  'darwin-arm64': /^cffaedfe0c000001/,
  'win-x64': /^4d5a/,
};
/** Node looks for it in itself: `:1` says that something was put inside. */
const FUSE = Buffer.from('NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:');

test('every file has its checksum, and every checksum its file', async () => {
  await mustRun('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: RELEASE });
  const sums = await readFile(artefact('SHA256SUMS'), 'utf8');
  const named = sums.match(/(?<= {2}).+$/gm) ?? [];
  assert.deepEqual([...named, 'SHA256SUMS'].toSorted(), names());
});

test('all artefacts are there', () => {
  const version = releasedVersion();
  const wanted = [
    ...TARGETS.map((target) => fileNameOf(target, version)),
    ...['amd64.deb', 'amd64.rpm', 'arm64.deb', 'arm64.rpm'].map((end) => `quayctl_${version}_${end}`),
    `quayctl-${version}-oci.tar`,
    `quayctl-${version}.tgz`,
    `quayctl-${version}.cdx.json`,
    'LICENSES.txt',
    'SHA256SUMS',
    'install.sh',
  ];
  const missing = wanted.filter((name) => !names().includes(name));
  assert.deepEqual(missing, []);
});

for (const target of TARGETS) {
  const place = `${target.os}-${target.architecture}`;
  test(`the executable for ${place} has the format of its system, and the bundle inside`, async () => {
    const path = artefact(fileNameOf(target, 'VERSION'));
    const file = await open(path);
    const { buffer } = await file.read(Buffer.alloc(64), 0, 64, 0);
    await file.close();
    assert.match(buffer.toString('hex'), FORMATS[place] ?? /nothing/);
    const bytes = await readFile(path);
    const at = bytes.indexOf(FUSE);
    assert.equal(bytes.toString('latin1', at + FUSE.length, at + FUSE.length + 1), '1');
    assert.ok(bytes.includes(Buffer.from('QUAYCTL_TORRENT_SERVICE')), 'the bundle');
  });
}

test('the version says which commit this is', async (t) => {
  const facts = await releaseVersion(ROOT);
  const told = await mustRun(artefact('quayctl-VERSION-linux-amd64'), ['version', '--json']);
  const { node: _, ...rest } = JSON.parse(told) as Record<string, string>;
  assert.equal(rest['version'], releasedVersion());
  assert.equal(rest['platform'], 'linux/amd64');
  if (rest['commit'] !== facts.commit) t.diagnostic('the release is of an older commit than the checkout');
  assert.match(rest['commit'] ?? '', /^[0-9a-f]{40}$/);
});

test('the list of parts names libraries, Node and what the image takes from Debian', async () => {
  const text = await readFile(artefact('quayctl-VERSION.cdx.json'), 'utf8');
  const list = JSON.parse(text) as { bomFormat: string; components: { name: string; purl: string }[] };
  assert.equal(list.bomFormat, 'CycloneDX');
  const listed = list.components.map(({ name }) => name);
  for (const name of ['bittorrent-protocol', 'openpgp', 'node', 'libc6', 'libstdc++6', 'ca-certificates'])
    assert.ok(listed.includes(name), name);
  const purls = list.components.map(({ purl }) => purl);
  assert.equal(new Set(purls).size, purls.length, 'each once');
});

test('the licenses of all that is inside are there', async () => {
  const text = await readFile(artefact('LICENSES.txt'), 'utf8');
  for (const part of [
    'Apache License',
    'openpgp',
    'GNU LESSER GENERAL PUBLIC LICENSE',
    'Node.js is licensed',
    'OpenSSL',
  ])
    assert.ok(text.includes(part), part);
});

test(
  'the executable for arm64 starts, helps and tells its version',
  { skip: skipWithout('qemu-aarch64-static') },
  async (t) => {
    const { arm64Root } = await import('./image-root.ts');
    const root = await arm64Root(t);
    const emulated = (...args: string[]): Promise<string> =>
      mustRun('qemu-aarch64-static', ['-L', root, artefact('quayctl-VERSION-linux-arm64'), ...args]);
    const told = JSON.parse(await emulated('version', '--json')) as Record<string, string>;
    assert.deepEqual([told['version'], told['platform']], [releasedVersion(), 'linux/arm64']);
    assert.match(await emulated('--help'), /torrent/);
  },
);
