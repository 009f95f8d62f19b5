import type { Http } from '../http/http.ts';
import type { ImageReference } from '../image/reference.ts';
import { openRepository } from '../registry/open-repository.ts';
import { openTorrentService } from '../registry/open-torrent-service.ts';
import type { ReportOptions } from '../registry/security/find-report.ts';
import { credentialFor } from './credentials.ts';
import { openClair } from './open-clair.ts';
import type { RawReportFlags } from './report-flags.ts';
import type { Session } from './session.ts';

/** The flags that say where reports are asked for, read. */
export interface ReportPlaces {
  /** `--torrent-service`; the registry itself where none is named. */
  readonly torrentService: URL | undefined;
  readonly insecure: boolean;
  readonly sendCredentials: boolean;
}

interface ReportTalk {
  readonly http: Http;
  readonly say: (message: string) => void;
  readonly warn: (message: string) => void;
  readonly debug: (message: string) => void;
}

/**
 * Everybody who may have a report of the images of one repository. Nothing is asked of them yet.
 * @throws QuayctlError `usage`, `credentials`
 */
export async function openReports(
  { registry, repository: name }: Pick<ImageReference, 'registry' | 'repository'>,
  { torrentService: service, insecure, sendCredentials }: ReportPlaces,
  raw: RawReportFlags,
  { http, say, warn: onWarning, debug }: ReportTalk,
  session: Session,
): Promise<Omit<ReportOptions, 'waitMs'>> {
  const clair = await openClair(raw, http);
  const credential = await credentialFor({ registry, repository: name }, session, onWarning);
  const access = { registry, credential, http, insecure, onWarning };
  const repository = openRepository(access, name);
  const asker = { http, repository, registry, service, insecure, sendCredentials };
  // Asked once: there is nothing to remember.
  const hostsWithoutTorrents = { isSilent: () => Promise.resolve(false), remember: () => Promise.resolve() };
  const torrents = openTorrentService({ ...asker, name, hostsWithoutTorrents });
  let said = '';
  const onStep = (message: string): void => {
    if (message !== said) say(`Waiting for ${message}`);
    said = message;
  };
  return { access, repository, name, service: asker, torrents, clair, onStep, onDebug: debug };
}
