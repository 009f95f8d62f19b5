import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { PeerRule } from '../../metainfo/metainfo.ts';
import type { Digest } from '../../image/digest.ts';
import { admitsKey, keyThumbprintOf } from './node-key.ts';
import { claimantsOf } from '../claimants.ts';
import type { Job } from '../jobs.ts';
import type { DerivedImages } from '../derived/derived-images.ts';
import type { DerivedFile } from '../derived/derived-store.ts';
import type { Recipe } from '../derived/recipe.ts';
import type { ImageName } from '../derived/source-blobs.ts';
import type { RequestContext } from '../../http-server/request-context.ts';
import { sendFile } from '../../http-server/send-file.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import type { Secret } from '../torrents/secret.ts';
import { makeTorrent } from '../torrents/torrent-maker.ts';
import type { BlobName } from '../../http-server/path.ts';
import { sendTorrent, TORRENT_TYPE, type OnTorrent } from './quay-api.ts';
import { sendProgress, waitFor, waitPatiently, waitSilently } from './waiting.ts';

export interface DerivedAnswerOptions {
  readonly derived: DerivedImages;
  readonly secret: Secret;
  readonly tokens: AnnounceTokens;
  /** The rule for peers of a swarm; undefined: every peer with a token. */
  readonly peers: PeerRule | undefined;
  /** Told of each torrent that is given out. */
  readonly onTorrent: OnTorrent;
  readonly onDerived: (repository: string, derived: Digest, manifest: Digest) => void;
  /** The signed URL of a file of the service's own. */
  readonly webSeed: (blob: BlobName) => string;
}

/** What is to be answered with, to a caller who may have it. */
export interface DerivedQuestion {
  readonly image: ImageName;
  readonly recipe: Recipe;
  readonly mediaType: string;
  readonly fileName: string;
  /** For clients that take few signs of life, or none (RFC 9110, 15.2): rkt's library gives up at the sixth. */
  readonly isSilent?: boolean;
}

/**
 * A derived image, or, with `Accept: application/x-bittorrent`, its torrent; either makes it. A torrent that is not to
 * be had yet is a 202, as for blobs; the image itself is waited for, unless `?wait=` says how long: whoever pipes it into
 * `docker load` has no use for a 202.
 */
export async function answerDerived(
  options: DerivedAnswerOptions,
  exchange: RequestContext,
  { image, recipe, mediaType, fileName, isSilent = false }: DerivedQuestion,
): Promise<void> {
  const { authorization, accept = '' } = exchange.request.headers;
  const wantsTorrent = accept.includes(TORRENT_TYPE);
  if (wantsTorrent && !admitsKey(exchange)) return;
  const caller = { authorization, claimants: claimantsOf(exchange, options.secret) };
  const found = await options.derived.image(image, recipe, caller);
  const wait = wantsTorrent || exchange.query.has('wait') ? waitFor : isSilent ? waitSilently : waitPatiently;
  const file = 'done' in found ? await waitForJob(found, exchange, wait) : found;
  if (file === undefined) return sendProgress(exchange, progressOf(found as Job<DerivedFile>));
  if (wantsTorrent) return answerTorrent(options, exchange, image, file);
  const headers = {
    'content-type': mediaType,
    'content-disposition': `attachment; filename="${fileName}"`,
  };
  await sendFile(exchange, options.derived.served(file), headers);
}

/** Waits as `wait` does; the work knows meanwhile that somebody waits for it. */
export async function waitForJob<Result>(
  job: Job<Result>,
  exchange: RequestContext,
  wait: <T>(done: Promise<T>, exchange: RequestContext) => Promise<T | undefined>,
): Promise<Result | undefined> {
  const leave = job.join();
  try {
    return await wait(job.done, exchange);
  } finally {
    leave(exchange.signal.aborted ? 'gone' : 'told');
  }
}

/** The body of a 202. */
export function progressOf(job: Job<unknown>): { size: number; hashed: number; etaSeconds: number } {
  return { size: job.size, hashed: job.read, etaSeconds: job.etaSeconds };
}

async function answerTorrent(
  { derived, secret, tokens, webSeed, peers, onTorrent, onDerived }: DerivedAnswerOptions,
  exchange: RequestContext,
  { repository, digest: manifest }: ImageName,
  file: DerivedFile,
): Promise<void> {
  const { authorization } = exchange.request.headers;
  const hashes = await derived.hashes(file);
  const caller = { authorization, keyThumbprint: keyThumbprintOf(exchange) };
  const imageId = file.notes['imageID'];
  const kind = imageId === undefined ? 'squashed' : 'aci';
  const announce = (infoHash: InfoHash): Promise<string> => {
    onTorrent(infoHash, { repository, digest: file.digest, size: file.length, kind }, exchange);
    onDerived(repository, file.digest, manifest);
    return tokens.announceUrl(infoHash, caller);
  };
  const webSeeds = [webSeed({ repository, digest: file.digest })];
  sendTorrent(
    exchange,
    file.digest,
    await makeTorrent(secret, hashes, {
      announce,
      webSeeds,
      imageId,
      manifest,
      peers,
    }),
  );
}
