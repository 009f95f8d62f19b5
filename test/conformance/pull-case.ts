import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Output, Scope } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import type { Case, Input, Right } from './case.ts';

/** A home as the case wants it: files of credentials, and helpers first on the PATH. */
export async function furnish(home: string, input: Input): Promise<Record<string, string>> {
  const write = async (path: string, value: unknown): Promise<void> => {
    await mkdir(join(home, path, '..'), { recursive: true });
    await writeFile(join(home, path), typeof value === 'string' ? value : JSON.stringify(value));
  };
  await write('docker/config.json', input.docker ?? {});
  const auth = join(home, 'config/containers/auth.json');
  if (input.podman !== undefined) await write('config/containers/auth.json', input.podman);
  await mkdir(join(home, 'bin'), { recursive: true });
  for (const [name, script] of Object.entries(input.helpers ?? {})) {
    const path = join(home, 'bin', `docker-credential-${name}`);
    await writeFile(path, `#!/bin/sh\n${script}`);
    await chmod(path, 0o755);
  }
  return {
    PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
    ...(input.podman === undefined ? {} : { REGISTRY_AUTH_FILE: auth }),
    ...input.env,
  };
}

/**
 * Pulls as the case says.
 * @param dockerHost of an engine, for cases that go into Docker
 * @throws AssertionError where the outcome is not the right one
 */
export async function checkCase(
  scope: Scope,
  { set, right, into }: Case,
  dockerHost: string | undefined,
): Promise<void> {
  const input = await set(scope);
  const node = await quayctlNode(scope);
  const env = {
    ...(await furnish(node.home, input)),
    ...(dockerHost === undefined ? {} : { DOCKER_HOST: dockerHost }),
  };
  const layout = join(node.home, 'layout');
  const args =
    into === 'docker'
      ? ['docker', 'torrent', 'pull', input.reference]
      : ['torrent', 'pull', input.reference, '--output', layout];
  const output = await node.run([...args, '--json', '--no-progress', ...(input.flags ?? [])], { env });
  assertRight(output, right, input);
  if (right !== 'pulled') return;
  if (into === undefined) await verifiedBlobs(layout);
  await input.check?.({ layout, stdout: output.stdout, stderr: output.stderr });
}

function assertRight(output: Output, right: Right, { image }: Input): void {
  if (right === 'pulled') {
    const receipt = receiptOf(output);
    if (image !== undefined) assert.equal(receipt.digest, image.digest);
    return;
  }
  assert.equal(output.code, right.exit, output.stderr || output.stdout);
  assert.match(output.stderr, right.says);
}
