import { QuayctlError } from '../base/errors.ts';
import { dumpBody } from '../http/http.ts';
import { shortDigest } from '../image/digest.ts';
import type { TorrentService } from './repository.ts';
import { ONLY_SOURCE, readResuming } from './resuming.ts';
import { pathOf, type ServiceAsker } from './service-asker.ts';

/**
 * Reads blobs at a torrent service that stands in front of the registry (`/v2/`; docs/protocol.md, "Cold
 * swarms"), showing to it what it may be shown. A redirect to storage is not followed: the registry's own is as good.
 */
export function serviceBlobs(
  asker: ServiceAsker,
  { name, registry }: { readonly name: string; readonly registry: string },
): NonNullable<TorrentService['blob']> {
  return (blob, start, end, signal, patience = ONLY_SOURCE) => {
    const what = `blob ${shortDigest(blob.digest)} of ${name}`;
    const open = async ({ headers = {} }): ReturnType<Parameters<typeof readResuming>[2]['open']> => {
      const base = await asker.base(signal);
      const url = new URL(`${pathOf(base)}/v2/${name}/blobs/${blob.digest}`, base);
      url.searchParams.set('ns', registry);
      const { answer, authorization } = await asker.ask(url, { headers, patience, signal });
      const { statusCode: status } = answer;
      if (status === 200 || status === 206 || status === 416) return { answer, url, denyLocal: false };
      await dumpBody(answer);
      if (status === 401 || status === 403) throw asker.refusal(url, what, authorization);
      throw new QuayctlError('not-found', `${url.host} answers ${status} for ${what}`);
    };
    return readResuming(blob, { start, end }, { what, open, patience, signal });
  };
}
