import type { Extension } from 'bittorrent-protocol';
import { MAX_CLAIMS_PER_MESSAGE, decodeClaims, encodeClaims, type ClaimMessage } from './claim-messages.ts';
import type { PeerWire } from '../wire/peer-wire.ts';

/** The name under which peers announce it in the extended handshake (BEP 10). */
const NAME = 'quayctl_claims';

/** Claims as a BEP 10 extension of one connection. Clients that do not speak it are never sent any. */
export interface ClaimsLink {
  /** Nothing is sent to a peer that does not speak it. */
  send(message: ClaimMessage): void;
}

export interface ClaimsHandlers {
  /** The peer speaks it: it is to be told the open claims. */
  readonly onReady: () => void;
  /** Only what is well-formed. */
  readonly onMessage: (message: ClaimMessage) => void;
}

export function useClaims(wire: PeerWire, pieceCount: number, handlers: ClaimsHandlers): ClaimsLink {
  let ready = false;
  class Claims implements Extension {
    onExtendedHandshake(): void {
      ready = true;
      handlers.onReady();
    }
    onMessage(payload: Uint8Array): void {
      const message = decodeClaims(payload, pieceCount);
      if (message === undefined) wire.reportViolation('claims that are none');
      else handlers.onMessage(message);
    }
  }
  Object.defineProperty(Claims.prototype, 'name', { value: NAME });
  wire.use(Claims);
  return {
    send(message) {
      if (!ready || wire.destroyed) return;
      for (const part of parts(message)) wire.extended(NAME, encodeClaims(part));
    },
  };
}

function* parts(message: ClaimMessage): Generator<ClaimMessage> {
  const { length } = 'claims' in message ? message.claims : message.pieces;
  for (let at = 0; at < length; at += MAX_CLAIMS_PER_MESSAGE) {
    const end = at + MAX_CLAIMS_PER_MESSAGE;
    yield 'claims' in message
      ? { ...message, claims: message.claims.slice(at, end) }
      : { ...message, pieces: message.pieces.slice(at, end) };
  }
}
