import { sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { discard, type Upstream } from '../../upstream/upstream.ts';

/** A load balancer asks every few seconds and must not hang on the upstream's time-outs. */
const READY_TIMEOUT_MS = 3000;
const READY_FOR_MS = 1000;

/** `/healthz`: the process is alive. */
export const healthRoute: Route = (exchange: RequestContext): void =>
  sendJson(exchange, 200, { status: 'ok' });

/** `/readyz`: the upstream answers, be it by asking who we are. One question in a second serves all who ask us. */
export function readyRoute(upstream: Upstream): Route {
  let asked: { readonly at: number; readonly ready: Promise<boolean> } | undefined;
  return async (exchange: RequestContext): Promise<void> => {
    const now = performance.now();
    if (asked === undefined || now - asked.at > READY_FOR_MS) {
      asked = { at: now, ready: answers(upstream, AbortSignal.timeout(READY_TIMEOUT_MS)) };
    }
    const ready = !exchange.closing.aborted && (await asked.ready);
    sendJson(exchange, ready ? 200 : 503, { status: ready ? 'ok' : 'unavailable' });
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
