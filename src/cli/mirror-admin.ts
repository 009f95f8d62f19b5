import { openAdmin, type AdminListener, type AdminOptions } from '../admin/admin-listener.ts';
import { adminPages } from '../admin/admin-pages.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import type { Downloads } from '../blobs/downloads.ts';
import type { Route } from '../http-server/request-context.ts';
import { MirrorStatus } from '../mirror/mirror-status.ts';
import type { Listener } from '../pull/events.ts';

/**
 * The mirror's admin listener: its page, its JSON, its metrics.
 * @param told gets the listeners that want to hear of downloads
 * @throws QuayctlError as startAdmin
 */
export async function openMirrorAdmin(
  options: (AdminOptions & { readonly isDefault: boolean }) | undefined,
  registries: readonly string[],
  told: ((event: BlobEvent) => void)[],
  node: { readonly downloads: Downloads; readonly listener: Listener; readonly version: string },
): Promise<AdminListener | undefined> {
  if (options === undefined) return undefined;
  const { NodeMetrics } = await import('../blobs/node-metrics.ts');
  const metrics = new NodeMetrics(node.downloads);
  const status = new MirrorStatus({ downloads: node.downloads, registries, version: node.version });
  told.push(metrics.listener, status.listener);
  const routes = new Map<string, Route>([['metrics', metrics.route], ...adminPages(status)]);
  return openAdmin(options, routes, (event) => {
    if (event.kind === 'warning') node.listener(event);
  });
}
