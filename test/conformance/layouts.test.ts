import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe } from 'node:test';
import { startOddRegistry } from '../helpers/odd-registry.ts';
import { mustRun } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf } from '../helpers/stage.ts';
import { simple } from './case.ts';
import { defineCheck } from './define-tests.ts';
import { checkLayout, LAYOUT_WRITERS } from './layout-writers.ts';

describe('conformance: layouts and archives of others', () => {
  for (const [writer, write] of Object.entries(LAYOUT_WRITERS)) {
    const name = `D17: --output into a layout of ${writer}`;
    defineCheck(name, (scope) => checkLayout(scope, write), skipWithout(writer));
  }
  defineCheck(
    'D17: archives are read by skopeo',
    async (scope) => {
      const registry = await startOddRegistry(scope);
      const ours = registry.put('team/ours', '1', simple());
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
