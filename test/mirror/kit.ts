import { join } from 'node:path';
import { openStage, type Stage } from '../helpers/stage.ts';
import type { RegistryOptions } from '../helpers/registry.ts';
import type { RunningProcess, Scope } from '../helpers/processes.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';

/** `quayctl mirror` as a process of its own, in front of the stage's registry as nodes see it. */
export interface TestMirror {
  readonly url: string;
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly node: QuayctlNode;
  readonly process: RunningProcess;
}

export interface MirrorStage extends Stage {
  readonly mirror: TestMirror;
}

export async function openMirrorStage(
  scope: Scope,
  options: RegistryOptions = {},
  flags: readonly string[] = [],
): Promise<MirrorStage> {
  const stage = await openStage(scope, options);
  return { ...stage, mirror: await startMirrorOf(scope, stage, flags) };
}

/** @param flags in place of its defaults */
export async function startMirrorOf(
  scope: Scope,
  { pipe, service }: Pick<Stage, 'pipe' | 'service'>,
  flags: readonly string[] = [],
): Promise<TestMirror> {
  const node = await quayctlNode(scope);
  const process = node.start([
    'mirror',
    ...['--torrent-service', service.url],
    ...['--registry', pipe.host],
    ...['--listen', '127.0.0.1:0'],
    ...['--upper-port', '6999'],
    ...(flags.includes('--identity') ? [] : ['--plain']),
    ...['--control', join(node.home, 'mirror.sock')],
    '--debug',
    ...flags,
  ]);
  const [url] = await process.waitFor(/^https?:\S+$/m);
  return { url, host: new URL(url).host, node, process };
}

/** What an engine with hosts.toml asks: `/v2/PATH?ns=HOST`. */
export function askMirror(
  { mirror, pipe }: MirrorStage,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<Response> {
  const url = `${mirror.url}/v2/${path}?ns=${encodeURIComponent(pipe.host)}`;
  return fetch(url, { method, headers });
}
