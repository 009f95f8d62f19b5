import type { default as Wire, Extension } from 'bittorrent-protocol';
import { MAX_PIECES_PER_MESSAGE, decodeClaims, encodeClaims, type ClaimMessage } from './claims.ts';

/** The name under which peers announce it in the extended handshake (BEP 10). */
const NAME = 'quayctl_claims';

/** Claims as a BEP 10 extension of one connection. Clients that do not speak it are never sent any. */
export interface ClaimsLink {
  /** Nothing is sent to a peer that does not speak it. */
  send(message: ClaimMessage): void;
}

/**
 * @param onReady the peer speaks it: it is to be told the open claims
 * @param onMessage only what is well-formed
 */
export function useClaims(
  wire: Wire,
  pieceCount: number,
  handlers: { readonly onReady: () => void; readonly onMessage: (message: ClaimMessage) => void },
): ClaimsLink {
  let ready = false;
  class Claims implements Extension {
    onExtendedHandshake(): void {
      ready = true;
      handlers.onReady();
    }
    onMessage(payload: Uint8Array): void {
      const message = decodeClaims(payload, pieceCount);
      if (message === undefined) wire.destroy();
      else handlers.onMessage(message);
    }
  }
  Object.defineProperty(Claims.prototype, 'name', { value: NAME });
  wire.use(Claims);
  return {
    send({ kind, pieces }) {
      if (!ready || wire.destroyed) return;
      for (let at = 0; at < pieces.length; at += MAX_PIECES_PER_MESSAGE) {
        const part = pieces.slice(at, at + MAX_PIECES_PER_MESSAGE);
        wire.extended(NAME, encodeClaims({ kind, pieces: part }));
      }
    },
  };
}
