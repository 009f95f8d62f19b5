import type { Extension } from 'bittorrent-protocol';
import { MAX_CLAIMS_PER_MESSAGE, decodeClaims, encodeClaims, type ClaimMessage } from './claim-messages.ts';
import type { PeerWire } from '../wire/peer-wire.ts';

/**
 * The extension's name in `m` of the extended handshake (BEP 10). It ends in the major version, which changes only when
 * messages can no longer be understood by those who skip what they do not know (docs/protocol.md).
 */
export const CLAIMS_EXTENSION = 'quayctl_claims_1';

/** Claims as a BEP 10 extension of one connection. Clients that do not support it are never sent any. */
export interface ClaimsLink {
  /** Does nothing where the peer does not support the extension, or the connection is closed. */
  send(message: ClaimMessage): void;
}

export interface ClaimsHandlers {
  /** The peer supports the extension and may now be told the open claims. */
  readonly onReady: () => void;
  /** Only messages with something that this version understands. */
  readonly onMessage: (message: ClaimMessage) => void;
}

/** Adds the extension to a connection. Call it before the handshake is sent. */
export function useClaims(wire: PeerWire, pieceCount: number, handlers: ClaimsHandlers): ClaimsLink {
  let ready = false;
  class Claims implements Extension {
    onExtendedHandshake(): void {
      ready = true;
      handlers.onReady();
    }
    onMessage(payload: Uint8Array): void {
      // A newer peer may say things that this version does not know. Only the amount is limited (peer-wire.ts).
      const message = decodeClaims(payload, pieceCount);
      if (message !== undefined) handlers.onMessage(message);
    }
  }
  Object.defineProperty(Claims.prototype, 'name', { value: CLAIMS_EXTENSION });
  wire.use(Claims);
  return {
    send(message) {
      if (!ready || wire.destroyed) return;
      for (const part of parts(message)) wire.extended(CLAIMS_EXTENSION, encodeClaims(part));
    },
  };
}

/** Splits a message so that no part has more entries than a receiver reads. */
function* parts(message: ClaimMessage): Generator<ClaimMessage> {
  const { length } = 'claims' in message ? message.claims : message.pieces;
  for (let at = 0; at < length; at += MAX_CLAIMS_PER_MESSAGE) {
    const end = at + MAX_CLAIMS_PER_MESSAGE;
    yield 'claims' in message
      ? { ...message, claims: message.claims.slice(at, end) }
      : { ...message, pieces: message.pieces.slice(at, end) };
  }
}
