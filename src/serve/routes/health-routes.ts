import { sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { discard, type Upstream } from '../upstream/upstream.ts';

/** A load balancer asks every few seconds and must not hang on the upstream's time-outs. */
const READY_TIMEOUT_MS = 3000;

/** `/healthz`: the process is alive. */
export const healthRoute: Route = (exchange: RequestContext): void =>
  sendJson(exchange, 200, { status: 'ok' });

/** `/readyz`: the upstream answers, be it by asking who we are. */
export function readyRoute(upstream: Upstream): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const signal = AbortSignal.any([exchange.signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
    const ready = !exchange.closing.aborted && (await answers(upstream, signal));
    sendJson(exchange, ready ? 200 : 503, { status: ready ? 'ok' : 'the upstream does not answer' });
  };
}

async function answers(upstream: Upstream, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await upstream.ask({ method: 'GET', resource: { kind: 'base' } }, signal);
    discard(answer);
    return answer.status === 200 || answer.status === 401;
  } catch {
    return false;
  }
}
