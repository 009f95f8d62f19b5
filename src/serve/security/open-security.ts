import type { BlobName } from '../../http-server/path.ts';
import { QuayctlError } from '../../base/errors.ts';
import type { TorrentServiceOptions } from '../options.ts';
import type { Permission } from '../../upstream/permission.ts';
import { ImageReports } from './image-reports.ts';
import { KeptImages } from './kept-images.ts';
import { ReportWatch } from './report-watch.ts';
import { Webhook } from './webhook.ts';

/** What of a torrent service is about security reports; nothing without `--clair`. */
export interface SecurityService {
  readonly reports: ImageReports | undefined;
  readonly watch: ReportWatch | undefined;
  close(): Promise<void>;
}

type Options = Pick<TorrentServiceOptions, 'clair' | 'notify' | 'http' | 'listener' | 'dataDirectory'>;

/** Images whose reports were watched before; undefined without `--notify`. @throws QuayctlError `usage` */
export async function openKeptImages({
  clair,
  notify,
  dataDirectory,
}: Options): Promise<KeptImages | undefined> {
  if (notify === undefined) return undefined;
  if (clair === undefined) {
    throw new QuayctlError('usage', '--notify needs --clair: whose reports are to be watched?');
  }
  return KeptImages.open(dataDirectory);
}

/** Reports, and where somebody wants to be told of changes, their watch. */
export function openSecurity(
  options: Options & { readonly own: Permission; readonly webSeed: (blob: BlobName) => string },
  kept: KeptImages | undefined,
): SecurityService {
  const { clair, notify, http, listener, own, webSeed } = options;
  if (clair === undefined) {
    return { reports: undefined, watch: undefined, close: () => Promise.resolve() };
  }
  const reports = new ImageReports({ clair, own, webSeed, listener });
  let watch: ReportWatch | undefined;
  if (notify !== undefined && kept !== undefined) {
    const { atLeast, everyMs, url, key } = notify;
    const webhook = new Webhook({ url, key, http });
    watch = new ReportWatch({ reports, kept, webhook, atLeast, everyMs, listener });
    watch.start();
  }
  return {
    reports,
    watch,
    close: async () => {
      reports.close();
      await watch?.close();
    },
  };
}
