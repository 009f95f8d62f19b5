import type { AciSigner } from '../aci/signer.ts';
import { refuse, send, type RequestContext, type Route } from '../../http-server/request-context.ts';

/** The path of the key, as Quay had it. */
export const ACI_KEY_PATH = 'aci-signing-key';

/** `/aci-signing-key`: the public key that signs ACIs, armored, as rkt wants it. */
export function aciKeyRoute(signer: Pick<AciSigner, 'publicKey'>): Route {
  return async (exchange: RequestContext): Promise<void> => {
    if (exchange.components.length > 1) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path');
    const headers = { 'content-type': 'application/pgp-keys', 'cache-control': 'public, max-age=300' };
    send(exchange, 200, headers, await signer.publicKey());
  };
}
