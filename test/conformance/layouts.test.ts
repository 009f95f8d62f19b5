import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe } from 'node:test';
import { startOddRegistry, type OddRegistry } from '../helpers/odd-registry.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { engineProgram, programPath, skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import { simple } from './case.ts';
import { defineCheck } from './define-tests.ts';

/** Writers of OCI image layouts; each puts the image into `layout`. */
const WRITERS: Readonly<Record<string, (reference: string, layout: string) => Promise<unknown>>> = {
  skopeo: (reference, layout) =>
    mustRun(programPath('skopeo'), [
      ...['--insecure-policy', 'copy', '--src-tls-verify=false'],
      ...[`docker://${reference}`, `oci:${layout}:theirs`],
    ]),
  umoci: (_, layout) => mustRun(programPath('umoci'), ['init', '--layout', layout]),
  'go:crane': (reference, layout) =>
    mustRun(engineProgram('crane'), ['pull', '--insecure', '--format=oci', reference, layout]),
};

async function odd(scope: Scope): Promise<{ registry: OddRegistry; theirs: string; ours: string }> {
  const registry = await startOddRegistry(scope);
  const theirs = registry.put('team/theirs', '1', simple());
  return { registry, theirs, ours: registry.put('team/ours', '1', simple()) };
}

describe('conformance: layouts and archives of others', () => {
  for (const [writer, write] of Object.entries(WRITERS)) {
    const name = `D17: --output into a layout of ${writer.replace('go:', '')}`;
    defineCheck(
      name,
      async (scope) => {
        const { theirs, ours } = await odd(scope);
        const node = await quayctlNode(scope);
        const layout = join(node.home, 'layout');
        await write(theirs, layout);
        const args = ['torrent', 'pull', ours, '--output', layout, '--json', '--no-progress'];
        const { digest } = receiptOf(await node.run(args));
        assert.ok((await verifiedBlobs(layout)).has(digest));
      },
      // crane is not built by CI: no other test needs it
      writer === 'go:crane' && process.env['CI'] === 'true'
        ? 'scripts/conformance runs it'
        : skipWithout(writer),
    );
  }
  defineCheck(
    'D17: archives are read by skopeo',
    async (scope) => {
      const { ours } = await odd(scope);
      const node = await quayctlNode(scope);
      const archive = join(node.home, 'image.tar');
      const args = ['torrent', 'pull', ours, '--output', archive, '--json', '--no-progress'];
      const { digest } = receiptOf(await node.run(args));
      const inspected = await mustRun(programPath('skopeo'), ['inspect', `oci-archive:${archive}`]);
      assert.equal((JSON.parse(inspected) as { Digest: string }).Digest, digest);
    },
    skipWithout('skopeo'),
  );
});
