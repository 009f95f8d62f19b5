import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { startHttpFaultProxy, type HttpFaultProxy } from './fault-proxy.ts';
import { TestLayout, type BuiltDescriptor } from './images.ts';
import type { Output, Scope } from './processes.ts';
import { pushImage } from './push.ts';
import { quayctlNode } from './quayctl.ts';
import { startRegistry, type RegistryOptions, type TestRegistry } from './registry.ts';
import { tempDirectory } from './temp.ts';

/**
 * What most end-to-end tests need: a real registry, the pipe through which nodes see it, and `quayctl serve` on the
 * registry's side of the pipe, itself behind a proxy. Nodes know the registry by the pipe's address.
 */
export interface Stage {
  readonly layout: TestLayout;
  readonly registry: TestRegistry;
  readonly pipe: HttpFaultProxy;
  readonly service: HttpFaultProxy;
  /** `HOST:PORT/NAME` by which nodes pull. */
  name(nameAndTag: string): string;
  push(manifest: BuiltDescriptor, nameAndTag: string, authorization?: string): Promise<void>;
}

export async function openStage(scope: Scope, options: RegistryOptions = {}): Promise<Stage> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
  const registry = await startRegistry(scope, options);
  const pipe = await startHttpFaultProxy(scope, registry.url);
  const server = await quayctlNode(scope);
  const serve = server.start([
    'serve',
    // Its copies of blobs would stand in for the registry, whose loss most tests are about.
    ...['--cache-size', '0'],
    ...['--upstream', registry.url],
    ...['--alias', pipe.host],
    ...['--listen', '127.0.0.1:0'],
  ]);
  const [url] = await serve.waitFor(/^http:\S+$/m);
  const service = await startHttpFaultProxy(scope, url);
  return {
    layout,
    registry,
    pipe,
    service,
    name: (nameAndTag) => `${pipe.host}/${nameAndTag}`,
    push: (manifest, nameAndTag, authorization) => {
      const [repository = '', tag = 'latest'] = nameAndTag.split(':');
      const target = { url: registry.url, repository, tag };
      return pushImage(layout, manifest, authorization === undefined ? target : { ...target, authorization });
    },
  };
}

/** The JSON of `--json` (cli.md, "Output"). */
export interface ReceiptJson {
  readonly image: string;
  readonly digest: string;
  readonly index?: string;
  readonly engine: string;
  readonly p2p: { readonly state: string; readonly reason: string };
  readonly layers: readonly (Sources & { readonly digest: string })[];
  readonly total: Sources & { readonly wasted: number; readonly peers: number; readonly uploaded: number };
}

interface Sources {
  readonly size: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  readonly fromStore: number;
  readonly alreadyInEngine: number;
  readonly seconds: number;
}

export interface FailureJson {
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
  readonly exitCode: number;
}

/** The failure of `--json`, with the exit code that the process really had. */
function failureOf(output: Output): FailureJson {
  const failure = JSON.parse(output.stdout) as FailureJson;
  assert.equal(failure.exitCode, output.code, output.stderr);
  assert.match(output.stderr, /^quayctl: /m, 'the failure is told in words too');
  return failure;
}

export function assertFails(output: Output, exitCode: number, code: string): void {
  const failure = failureOf(output);
  assert.deepEqual([output.code, failure.error.code], [exitCode, code], output.stderr);
}

/** The receipt of a pull that went well; its sums are checked. */
export function receiptOf(output: Pick<Output, 'code' | 'stdout' | 'stderr'>): ReceiptJson {
  assert.equal(output.code, 0, output.stderr);
  return parseReceipt(output.stdout);
}

export function parseReceipt(text: string): ReceiptJson {
  const receipt = JSON.parse(text) as ReceiptJson;
  for (const row of [...receipt.layers, receipt.total]) {
    assert.equal(row.size, row.fromPeers + row.fromRegistry + row.fromStore + row.alreadyInEngine, text);
  }
  assert.equal(
    receipt.total.size,
    receipt.layers.reduce((sum, { size }) => sum + size, 0),
  );
  return receipt;
}

/** Hashes every blob of an OCI layout or store; gives their digests. */
export async function verifiedBlobs(directory: string): Promise<Set<string>> {
  const folder = join(directory, 'blobs/sha256');
  const digests = new Set<string>();
  for (const hex of await readdir(folder)) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(folder, hex)), hash);
    assert.equal(hash.digest('hex'), hex, 'a blob has the digest that it is named by');
    digests.add(`sha256:${hex}`);
  }
  return digests;
}
