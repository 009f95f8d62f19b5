import type { Socket } from 'node:net';
import {
  connect as connectTls,
  createSecureContext,
  TLSSocket,
  type ConnectionOptions,
  type SecureContext,
} from 'node:tls';
import { constants } from 'node:crypto';

/** The name of quayctl's protocol between peers (ALPN, RFC 7301). */
export const PEER_PROTOCOL = 'quayctl-peer/1';
/** The first byte of a TLS connection: a record of type handshake (RFC 8446, section 5.1). BitTorrent's is 19. */
export const TLS_FIRST_BYTE = 0x16;
/** The cheapest first, where the processor has instructions for AES. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384';

/** What node:net reads into, in place of a buffer for each read. */
export interface SharedRead {
  readonly buffer: Uint8Array;
  readonly callback: (length: number, buffer: Uint8Array) => boolean;
}

/**
 * TLS 1.3 between nodes (docs/protocol.md, "Peers"). Both sides show a certificate of their own key and believe any: whose
 * key may be here is decided afterwards, by tokens. Sessions are not resumed, because a resumed one shows no certificate.
 */
export class PeerTls {
  readonly #context: SecureContext;

  /** @param identity PEM */
  constructor(identity: { readonly key: string; readonly cert: string }) {
    this.#context = createSecureContext({
      ...identity,
      minVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
  }

  /** Node reads into a shared buffer only where it opens the TCP connection itself. */
  dial(end: { readonly host: string; readonly port: number }, onread: SharedRead | undefined): TLSSocket {
    // @types/node knows `onread` of connections without TLS only.
    const options: ConnectionOptions & { onread?: SharedRead } = { ...this.#options, ...end };
    return connectTls(onread === undefined ? options : { ...options, onread });
  }

  /** @param socket of which nothing has been taken: a first chunk that was read is put back before this */
  accept(socket: Socket): TLSSocket {
    return new TLSSocket(socket, { ...this.#options, isServer: true, requestCert: true });
  }

  get #options(): { secureContext: SecureContext; ALPNProtocols: string[]; rejectUnauthorized: false } {
    return { secureContext: this.#context, ALPNProtocols: [PEER_PROTOCOL], rejectUnauthorized: false };
  }
}
