import assert from 'node:assert/strict';
import { join } from 'node:path';
import { startOddRegistry } from '../helpers/odd-registry.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { engineProgram, programPath } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import { simple } from './case.ts';

type Write = (reference: string, layout: string) => Promise<unknown>;

/** Writers of OCI image layouts, by what `skipWithout` calls them; each puts the image into `layout`. */
export const LAYOUT_WRITERS: Readonly<Record<string, Write>> = {
  skopeo: (reference, layout) =>
    mustRun(programPath('skopeo'), [
      ...['--insecure-policy', 'copy', '--src-tls-verify=false'],
      ...[`docker://${reference}`, `oci:${layout}:theirs`],
    ]),
  umoci: (_, layout) => mustRun(programPath('umoci'), ['init', '--layout', layout]),
};

/** Built by `scripts/setup --tools`, which CI does not do: `scripts/conformance` tries these, too. */
export const BUILT_LAYOUT_WRITERS: Readonly<Record<string, Write>> = {
  'go:crane': (reference, layout) =>
    mustRun(engineProgram('crane'), ['pull', '--insecure', '--format=oci', reference, layout]),
  'go:oras': (reference, layout) =>
    mustRun(engineProgram('oras'), [
      ...['copy', '--from-plain-http', '--to-oci-layout'],
      ...[reference, `${layout}:theirs`],
    ]),
  'go:regctl': (reference, layout) =>
    mustRun(engineProgram('regctl'), [
      ...['--host', `reg=${reference.split('/')[0]},tls=disabled`],
      ...['image', 'copy', reference, `ocidir://${layout}:theirs`],
    ]),
};

/** `--output` into a layout that somebody else has begun. @throws AssertionError */
export async function checkLayout(scope: Scope, write: Write): Promise<void> {
  const registry = await startOddRegistry(scope);
  const theirs = registry.put('team/theirs', '1', simple());
  const ours = registry.put('team/ours', '1', simple());
  const node = await quayctlNode(scope);
  const layout = join(node.home, 'layout');
  await write(theirs, layout);
  const args = ['torrent', 'pull', ours, '--output', layout, '--json', '--no-progress'];
  const { digest } = receiptOf(await node.run(args));
  assert.ok((await verifiedBlobs(layout)).has(digest));
}
