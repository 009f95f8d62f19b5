import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { OCI, oddImage } from '../helpers/odd-images.ts';
import { startOddRegistry, type OddRegistry } from '../helpers/odd-registry.ts';
import { file, folder as rootFolder, oddTar } from '../helpers/odd-tar.ts';
import { mustRun } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { startRegistry } from '../helpers/registry.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';
import { defineCheck } from './define-tests.ts';
import { LAYERS, type LayerCase } from './layers.ts';

/** Every layer goes through `serve`, squashed, which is where quayctl unpacks; the files are then looked at. */
describe('conformance: layers', () => {
  const scope = suiteScope();
  let registry: OddRegistry;
  let service: TestService;
  before(async () => {
    registry = await startOddRegistry(scope);
    service = await startService(scope, { upstream: registry.url });
  });

  for (const [at, each] of LAYERS.entries()) {
    defineCheck(`${each.row}: ${each.name}`, () => check(at, each));
  }

  defineCheck(
    'E1: zstd:chunked as a real podman pushes it',
    async (own) => {
      const folder = await tempDirectory(own, 'chunked');
      const names = Array.from({ length: 5 }, (_, at) => `d/file${at}`);
      const tar = oddTar([rootFolder('d'), ...names.map((name) => file(name, name.repeat(40_000)))]);
      await writeFile(join(folder, 'root.tar'), tar);
      const real = await startRegistry(own);
      const flags = ['root', 'run'].map((each) => `--${each === 'run' ? 'runroot' : each}=${folder}/${each}`);
      const podman = (...args: readonly string[]): Promise<string> =>
        mustRun(programPath('podman'), [...flags, '--storage-driver=vfs', ...args]);
      const name = `${real.host}/team/chunked:1`;
      await podman('import', '--quiet', join(folder, 'root.tar'), name);
      await podman('push', '--quiet', '--tls-verify=false', '--compression-format=zstd:chunked', name);
      const manifest = await fetch(`${real.url}/v2/team/chunked/manifests/1`, {
        headers: { accept: OCI.manifest },
      });
      assert.match(await manifest.text(), /tar\+zstd.*zstd-chunked/s, 'podman has made what this is about');
      const front = await startService(own, { upstream: real.url });
      const answer = await fetch(`${front.url}/c1/squash/team/chunked/1`);
      const body = Buffer.from(await answer.arrayBuffer());
      assert.equal(answer.status, 200, body.subarray(0, 500).toString());
      const tree = await squashedTree(body);
      for (const each of names) assert.equal(tree.get(each), each.repeat(40_000));
    },
    skipWithout('root', 'podman', 'docker-registry'),
  );

  async function check(at: number, { layers, right }: LayerCase): Promise<void> {
    const repository = `layers/case${at}`;
    registry.put(repository, '1', oddImage(layers()));
    const answer = await fetch(`${service.url}/c1/squash/${repository}/1`);
    const body = Buffer.from(await answer.arrayBuffer());
    if (right instanceof RegExp) {
      assert.notEqual(answer.status, 200, 'it is refused');
      assert.match(body.toString(), right);
      return;
    }
    assert.equal(answer.status, 200, body.toString());
    const tree = await squashedTree(body);
    const found = Object.keys(right).map((path) => [path, tree.get(path)]);
    assert.deepEqual(Object.fromEntries(found), { ...right });
  }
});

/** What `LayerCase.right` says of each path, from the archive that `docker load` would get. */
async function squashedTree(archive: Buffer): Promise<Map<string, string>> {
  const files = await untar(archive);
  const [manifest] = JSON.parse(files.get('manifest.json')?.content ?? '[]') as { Layers: string[] }[];
  const layer = files.get(manifest?.Layers[0] ?? '');
  assert.ok(layer !== undefined, 'the archive has one layer');
  const tree = new Map<string, string>();
  for (const [path, { type, content, linkname }] of await untar(gunzipSync(layer.bytes))) {
    const name = path.replace(/^\.\//, '').replace(/\/$/, '');
    if (type === 'directory') tree.set(name, '/');
    else if (type === 'symlink') tree.set(name, `-> ${linkname}`);
    else if (type === 'link') tree.set(name, `= ${linkname.replace(/^\.\//, '')}`);
    else tree.set(name, content);
  }
  return tree;
}

interface Entry {
  readonly type: string;
  readonly linkname: string;
  readonly bytes: Buffer;
  readonly content: string;
}

async function untar(bytes: Buffer): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  const tar = extract();
  tar.end(bytes);
  for await (const entry of tar) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const whole = Buffer.concat(chunks);
    const { name, type, linkname } = entry.header;
    entries.set(name, {
      type,
      linkname,
      bytes: whole,
      content: whole.toString(),
    });
  }
  return entries;
}
