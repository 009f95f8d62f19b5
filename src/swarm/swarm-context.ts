import type { Http } from '../http/http.ts';
import type { NodeKey } from './admission/node-key.ts';
import type { RateLimiter } from '../base/rate-limiter.ts';
import type { Semaphore } from '../base/semaphore.ts';
import type { DialLimits } from './peers/dial-limits.ts';
import type { RelatedPeers } from './peers/related-peers.ts';
import type { PieceCache } from './pieces/piece-cache.ts';
import type { ThirdParties } from './peers/third-parties.ts';
import type { PeerTls } from './wire/peer-tls.ts';

/** What the torrents of one client share. */
export interface SwarmContext {
  readonly peerId: string;
  /** Where peers are accepted. */
  readonly port: number;
  /** bittorrent-protocol's: 0 none, 1 the handshake and then plaintext where the other agrees, 2 the payload too. */
  readonly encryption: number;
  readonly nodeKey: NodeKey | undefined;
  /** For connections with other nodes; undefined without a key. */
  readonly tls: PeerTls | undefined;
  readonly thirdParties: ThirdParties;
  readonly announceIp: string | undefined;
  readonly downloadLimiter: RateLimiter;
  readonly uploadLimiter: RateLimiter;
  readonly cache: PieceCache;
  readonly gate: Semaphore;
  readonly http: Http;
  /** Takes one of the connection attempts that are left for this moment. */
  readonly tryDial: () => boolean;
  readonly dialWaitMs: number;
  readonly dialLimits: DialLimits;
  readonly relatedPeers: RelatedPeers;
  readonly onWarning: (message: string) => void;
  readonly onDebug: (message: string) => void;
}
