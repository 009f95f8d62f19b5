import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ManifestDocument } from '../image/manifest.ts';
import type { AnnounceToken } from '../metainfo/tracker-address.ts';
import type { LayerReport, ReportAnswer } from './service-reports.ts';
import type { Patience } from './resuming.ts';

/** One repository of one registry (OCI distribution-spec), with the credentials that this run has for it. */
export interface Repository {
  /**
   * A manifest or index by tag or digest; its bytes are checked against the digest that was asked for. For what a tag
   * means the registry is believed.
   * @throws QuayctlError `unauthorized`, `not-found`, `unreachable`, `verification`, `limit`, `rate-limited`
   */
  manifest(selector: string | Digest, signal: AbortSignal): Promise<ManifestDocument>;
  /**
   * Bytes `start` to `end` (exclusive) of a blob, in order, never more; retries and resumes inside. NOT verified
   * against the digest (that is the store's door); short or long answers are errors.
   * @param patience how long the registry may take: ONLY_SOURCE by default, BESIDE_PEERS where others have the bytes too
   */
  blob(
    descriptor: Descriptor,
    start: number,
    end: number,
    signal: AbortSignal,
    patience?: Patience,
  ): AsyncIterable<Uint8Array>;
  /**
   * The same from the places in `descriptor.urls` alone, for what the registry itself does not have.
   * @throws QuayctlError `not-found` where none of them gives it
   */
  elsewhere(
    descriptor: Descriptor,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;
}

/** What a torrent service said when it was asked for the torrent of a blob (docs/protocol.md, "The torrent of a blob"). */
export type TorrentAnswer =
  | {
      readonly kind: 'torrent';
      readonly bytes: Uint8Array;
      /** The service has the blob on its own disk (`TorrentService.blob`). */
      readonly isCached?: true;
    }
  /** 202: piece hashes are being made; `etaSeconds` until they are. */
  | {
      readonly kind: 'hashing';
      readonly size: number;
      readonly hashed: number;
      readonly etaSeconds: number;
      readonly retryAfterSeconds: number;
      /** Who reads the blob at the service (`TorrentService.blob`) gets it from the reading that makes the hashes. */
      readonly isFollowed?: true;
    }
  /** This host serves no torrents (remembered for an hour), or none of this blob; `reason` is for people. */
  | {
      readonly kind: 'none';
      readonly reason: string;
      /** A torrent service said so, of this one thing. */
      readonly isService?: true;
    };

/** What the service says of the attempt to connect back (docs/protocol.md, "Connecting back"). */
export interface ConnectBack {
  /** Of this node, as the service sees it. */
  readonly address: string;
  readonly isReachable: boolean;
  /** `refused`, `no answer`, `no route`; absent where it was reached. */
  readonly reason?: string;
}

/** Where torrents are asked for: the registry itself, or `--torrent-service`. */
export interface TorrentService {
  /** The user named it; absent or false: the registry itself is asked on the off-chance. */
  readonly isGiven?: boolean;
  /** Of the one that is asked. */
  readonly host?: string;
  /**
   * @param waitSeconds sent as `?wait=`, at most 60
   * @throws QuayctlError `unauthorized` (401, 403), `unreachable`, `protocol`
   */
  torrent(descriptor: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer>;
  /**
   * Bytes `start` to `end` (exclusive) of a blob as the service has them, or is reading them; as `Repository.blob`.
   * Undefined where the service is the registry itself.
   */
  readonly blob?:
    | ((
        descriptor: Descriptor,
        start: number,
        end: number,
        signal: AbortSignal,
        patience?: Patience,
      ) => AsyncIterable<Uint8Array>)
    | undefined;
  /**
   * The torrent of the squashed image that the service makes of a platform's manifest.
   * @throws QuayctlError as `torrent`
   */
  squashed(manifest: Digest, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer>;
  /**
   * The service's keys (RFC 7517), by which nodes check each other's announce tokens; kept.
   * @param kid of the key that is looked for
   * @throws QuayctlError `unreachable`, `protocol`, `limit`
   */
  serviceKeys(kid: string, signal: AbortSignal): Promise<unknown>;
  /**
   * Tells the service how a layer of which it gave the torrent arrives.
   * @throws QuayctlError `unreachable`, `protocol`, `limit`
   */
  report(token: AnnounceToken, report: LayerReport, signal: AbortSignal): Promise<ReportAnswer>;
  /**
   * Has the service connect back to a port of this node.
   * @param token an announce token of the service: secret
   * @returns undefined where it does not do that: it is of another kind, or sees no other machine in this one
   * @throws QuayctlError `unreachable`, `protocol`; `rate-limited` where it has done so within the last minute
   */
  connectBack(port: number, token: string, signal: AbortSignal): Promise<ConnectBack | undefined>;
  /**
   * A manifest or index that the service has kept, for `--offline-ok`; by digest it is checked, for what a tag means
   * the service is believed.
   * @throws QuayctlError `not-found` where it has none or is the registry itself, `unauthorized`, `unreachable`, ...
   */
  manifest(selector: string | Digest, signal: AbortSignal): Promise<ManifestDocument>;
}
