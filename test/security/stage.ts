import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { startClair, type ClairStandIn, type Flaw } from '../helpers/clair.ts';
import { TestLayout, type BuiltImage, type ImageSpec } from '../helpers/images.ts';
import type { Output } from '../helpers/processes.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { statusLayer } from './status-layer.ts';

export const PASSWORD = 'swordfish-in-a-password';
export const BASIC = `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`;
const SMALL: ImageSpec = { layers: [statusLayer({ one: '1.0', two: '2.0' })] };
const FLAWS: Readonly<Record<string, readonly Flaw[]>> = {
  one: [
    { name: 'CVE-2026-1', severity: 'High', fixed: '+1', links: 'https://cve.example/1' },
    { name: 'CVE-2026-2', severity: 'Low' },
  ],
};

export interface SecurityStage {
  readonly registry: TestRegistry;
  readonly image: BuiltImage;
  readonly name: string;
  readonly clair: ClairStandIn;
  readonly node: QuayctlNode;
  readonly security: (...args: readonly string[]) => Promise<Output>;
}

/** A registry with one image, a Clair, and a node that asks. */
export async function securityStage(
  t: TestContext,
  {
    spec = SMALL,
    flaws = FLAWS,
    isPrivate = false,
  }: { spec?: ImageSpec; flaws?: typeof FLAWS; isPrivate?: boolean } = {},
): Promise<SecurityStage> {
  const auth = { kind: 'htpasswd', username: 'user', password: PASSWORD } as const;
  const registry = await startRegistry(t, isPrivate ? { auth } : {});
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage(spec);
  const target = { url: registry.url, repository: 'team/app', tag: '1.0' };
  await pushImage(layout, image.manifest, isPrivate ? { ...target, authorization: BASIC } : target);
  const node = await quayctlNode(t);
  const clair = await startClair(t, flaws);
  const name = `${registry.host}/team/app:1.0`;
  return {
    registry,
    image,
    name,
    clair,
    node,
    security: (...args) => node.run(['security', name, ...args]),
  };
}

/** The user's credential, in the form of Docker's config.json. */
export async function logIn(node: QuayctlNode, ...hosts: readonly string[]): Promise<void> {
  const folder = node.env['DOCKER_CONFIG'] ?? '';
  await mkdir(folder, { recursive: true });
  const auths = Object.fromEntries(hosts.map((host) => [host, { auth: BASIC.slice('Basic '.length) }]));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ auths }));
}

export interface ReportJson {
  readonly digest: string;
  readonly source: { readonly kind: string; readonly host: string };
  readonly summary: { readonly total: number; readonly upgrades: number; readonly removed: number };
  readonly packages: readonly { readonly name: string; readonly command?: string }[];
  readonly vulnerabilities: readonly { readonly name: string }[];
  readonly failOn?: { readonly severity: string; readonly count: number };
}

export function reportOf({ stdout, stderr, code }: Output, exitCode = 0): ReportJson {
  assert.equal(code, exitCode, stderr);
  return JSON.parse(stdout) as ReportJson;
}
