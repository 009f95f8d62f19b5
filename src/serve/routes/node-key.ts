import { refuse, type RequestContext } from '../../http-server/request-context.ts';
import { NOT_STORED } from './waiting.ts';

/** Which the node proves to have, over TLS, to other nodes (docs/protocol.md, "Peers"). */
const KEY_HEADER = 'quayctl-key';
/** A SHA-256 in base64url (RFC 7638 section 3). */
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

/** The thumbprint of a node's key, if it names one. */
export function keyThumbprintOf({ request }: RequestContext): string | undefined {
  const header = request.headers[KEY_HEADER];
  return typeof header === 'string' ? header : undefined;
}

/** Refuses a thumbprint that is none with 400. @returns whether the exchange goes on */
export function admitsKey(exchange: RequestContext): boolean {
  const thumbprint = keyThumbprintOf(exchange);
  if (thumbprint === undefined || THUMBPRINT.test(thumbprint)) return true;
  const reason = 'Quayctl-Key is no SHA-256 thumbprint of a key in base64url (RFC 7638)';
  refuse(exchange, 400, 'UNSUPPORTED', reason, NOT_STORED);
  return false;
}
