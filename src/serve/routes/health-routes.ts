import { sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { discard, type Upstream } from '../../upstream/upstream.ts';

/** A load balancer asks every few seconds and must not hang on the upstream's time-outs. */
const READY_TIMEOUT_MS = 3000;
const READY_FOR_MS = 1000;

/** `/healthz`: the process is alive. */
export const healthRoute: Route = (exchange: RequestContext): void =>
  sendJson(exchange, 200, { status: 'ok' });

/** What a balancer is told, in one word. */
type Readiness =
  /** The upstream answers, be it by asking who we are. */
  | 'ok'
  /** It does not, and there is something that can be given without it. */
  | 'degraded'
  /** It does not, and there is nothing: 503. */
  | 'unavailable'
  /** The service is about to end: 503. */
  | 'stopping';

export interface ReadyOptions {
  readonly upstream: Upstream;
  /** Whether anything useful can be given while the upstream does not answer: to peers, or by permissions of before. */
  readonly canServeAlone: () => boolean;
}

/**
 * `/readyz`: whether the service can give something useful. With several replicas a balancer would otherwise take all of them
 * out when the registry is away, which is when they help most. One question in a second serves all who ask us.
 */
export function readyRoute({ upstream, canServeAlone }: ReadyOptions): Route {
  let asked: { readonly at: number; readonly isUp: Promise<boolean> } | undefined;
  return async (exchange: RequestContext): Promise<void> => {
    const now = performance.now();
    if (asked === undefined || now - asked.at > READY_FOR_MS) {
      asked = { at: now, isUp: answers(upstream, AbortSignal.timeout(READY_TIMEOUT_MS)) };
    }
    const status = await readiness(exchange, asked.isUp, canServeAlone);
    sendJson(exchange, status === 'ok' || status === 'degraded' ? 200 : 503, { status });
  };
}

async function readiness(
  { closing }: RequestContext,
  isUp: Promise<boolean>,
  canServeAlone: ReadyOptions['canServeAlone'],
): Promise<Readiness> {
  if (closing.aborted) return 'stopping';
  if (await isUp) return 'ok';
  return canServeAlone() ? 'degraded' : 'unavailable';
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
