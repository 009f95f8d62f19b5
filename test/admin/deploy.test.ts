import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { NodeMetrics } from '../../src/blobs/node-metrics.ts';
import type { Downloads } from '../../src/blobs/downloads.ts';
import { startAdmin } from '../../src/admin/admin-listener.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { mustRun, type Scope } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const DEPLOY = join(import.meta.dirname, '../../scripts/deploy');
const RULES = join(DEPLOY, 'prometheus-alerts.yaml');
const place = { host: '127.0.0.1', port: 0 };

/** Of `serve`, and of a node. */
async function metricsOf(t: Scope): Promise<string> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, admin: { place } });
  // Of the downloads nothing is asked but their sums.
  const downloads = {
    list: () => [],
    seeds: { totals: () => ({ torrents: 2, peers: 3, uploaded: 400, takers: 1 }) },
  } as unknown as Downloads;
  const metrics = new NodeMetrics(downloads);
  const name = { registry: 'registry.example', repository: 'team/secret' };
  metrics.listener({ kind: 'fetched', digest: 'sha256:0' as never, name, fromPeers: 30, fromRegistry: 12 });
  metrics.listener({ kind: 'fetched', digest: 'sha256:0' as never, name, fromPeers: 1, fromRegistry: 1 });
  const node = await startAdmin({ place }, new Map([['metrics', metrics.route]]), () => undefined);
  t.after(() => node.close());
  const texts = [service.adminUrl, node.url].map(async (url) => (await fetch(`${url}/metrics`)).text());
  return (await Promise.all(texts)).join('\n');
}

test('nodes count what came from registry and peers, by registry, and name no image', async (t) => {
  const text = await metricsOf(t);
  for (const line of [
    'quayctl_node_peer_bytes_total{registry="registry.example"} 31',
    'quayctl_node_registry_bytes_total{registry="registry.example"} 13',
    'quayctl_node_given_bytes_total 400',
    'quayctl_node_seeds 2',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  assert.doesNotMatch(text, /secret/);
});

test('each metric that the dashboard and the alert rules name is there', async (t) => {
  const known = await metricsOf(t);
  const files = ['grafana-dashboard.json', 'prometheus-alerts.yaml'];
  const texts = await Promise.all(files.map((file) => readFile(join(DEPLOY, file), 'utf8')));
  const named = new Set(texts.join('\n').match(/\b(?:quayctl|process|nodejs)_[a-z_]+\b/g));
  assert.ok(named.size > 12, [...named].join(' '));
  for (const name of named) {
    const family = name.replace(/_bucket$/, '');
    assert.match(known, new RegExp(`^# TYPE ${family} `, 'm'), name);
  }
  const dashboard = JSON.parse(texts[0] ?? '') as { panels: { targets: { expr: string }[] }[] };
  for (const { targets } of dashboard.panels) assert.ok(targets.every(({ expr }) => expr !== ''));
});

test('promtool takes the alert rules', { skip: skipWithout('promtool') }, async () => {
  await mustRun(programPath('promtool'), ['check', 'rules', RULES]);
});
