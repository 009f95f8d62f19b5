import { startAdmin } from '../admin/admin-listener.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import type { Downloads } from '../blobs/downloads.ts';
import type { Listener } from '../pull/events.ts';
import { adminToken, listenPlace } from './admin-flags.ts';

interface RawMetricsFlags {
  readonly metricsListen?: string;
  readonly adminTokenFile?: string;
}

/**
 * `seed --metrics-listen`: `/metrics` of this node, and nothing else.
 * @param told gets the listeners that want to hear of downloads
 * @returns closes it
 * @throws QuayctlError as startAdmin
 */
export async function openSeedMetrics(
  { metricsListen, adminTokenFile }: RawMetricsFlags,
  downloads: Downloads,
  told: ((event: BlobEvent) => void)[],
  listener: Listener,
): Promise<() => Promise<void>> {
  if (metricsListen === undefined) return async () => undefined;
  const token = adminTokenFile === undefined ? undefined : await adminToken(adminTokenFile);
  const place = listenPlace('--metrics-listen', metricsListen);
  const { NodeMetrics } = await import('../blobs/node-metrics.ts');
  const metrics = new NodeMetrics(downloads);
  told.push(metrics.listener);
  const admin = await startAdmin(
    { place, token, flag: '--metrics-listen' },
    new Map([['metrics', metrics.route]]),
    (event) => {
      if (event.kind === 'warning') listener(event);
    },
  );
  listener({ kind: 'debug', message: `metrics at ${admin.url}/metrics` });
  return () => admin.close();
}
