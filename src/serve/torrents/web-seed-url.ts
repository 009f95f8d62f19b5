import type { BlobName } from '../../http-server/path.ts';
import type { Secret } from './secret.ts';

const PURPOSE = 'quayctl-web-seed-1';

export interface WebSeedOptions {
  readonly secret: Secret;
  readonly publicUrl: string;
  readonly ttlSeconds: number;
}

/** A URL that gives one blob to whoever has it, until it expires (BEP 19 wants no more of a web seed than that). */
export function webSeedUrl(options: WebSeedOptions, { repository, digest }: BlobName, nowMs: number): string {
  const expires = String(Math.floor(nowMs / 1000) + options.ttlSeconds);
  const signature = options.secret.sign(PURPOSE, repository, digest, expires);
  return `${options.publicUrl}/ws/${repository}/blobs/${digest}?expires=${expires}&signature=${signature}`;
}

/** True for a query that this service, or a replica, signed for that blob, and that has not expired. */
export function isSigned(
  secret: Secret,
  { repository, digest }: BlobName,
  query: URLSearchParams,
  nowMs: number,
): boolean {
  const expires = query.get('expires') ?? '';
  const genuine = secret.verify(query.get('signature') ?? '', PURPOSE, repository, digest, expires);
  return genuine && /^\d{1,12}$/.test(expires) && Number(expires) * 1000 > nowMs;
}
