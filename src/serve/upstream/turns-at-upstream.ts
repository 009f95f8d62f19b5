import { Turns, type TurnLimits } from '../../base/turns.ts';
import type { Route } from '../../http-server/request-context.ts';

/**
 * Requests that are passed on to the upstream, each over a connection of its own: at once and waiting, in all and for
 * one site.
 */
const LIMITS: TurnLimits = {
  what: 'requests for the registry',
  atOnce: 256,
  atOnceEach: 64,
  most: 2048,
  mostEach: 1024,
};

/** @returns a decorator: the routes that it is given share the bound, and their callers' sites take turns */
export function turnsAtUpstream(): (route: Route) => Route {
  const turns = new Turns(LIMITS);
  return (route) => async (exchange) => {
    const place = turns.enter([exchange.site]);
    try {
      await place.turn(exchange.signal);
      await route(exchange);
    } finally {
      place.release();
    }
  };
}
