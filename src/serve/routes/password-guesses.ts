import { refuse, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { whenOver } from '../../http-server/when-over.ts';
import { isDenied } from '../../upstream/permission.ts';
import { NOT_STORED } from './waiting.ts';

/** The time for which wrong passwords are counted. */
const WINDOW_MS = 10 * 60_000;
/** Wrong passwords for one user from one site. A machine with an old password asks for some dozen blobs at once. */
const MOST_OF_USER = 60;
/** Wrong passwords for all users from one site. */
const MOST_OF_SITE = 600;
/** Sites and users that are remembered. */
const MAX_COUNTS = 20_000;

/**
 * Every password that a caller shows goes to the registry from the service's own address: without a bound strangers could
 * guess through us, and the registry would lock the service out.
 * @returns a decorator: the routes that it is given share the bound
 */
export function limitPasswordGuesses(): (route: Route) => Route {
  const wrong = new RecentCounts();
  return (route) => async (exchange) => {
    const user = userOf(exchange);
    if (user === undefined) return route(exchange);
    const { site, response } = exchange;
    if (wrong.of(user) >= MOST_OF_USER || wrong.of(site) >= MOST_OF_SITE) {
      const reason = 'too many wrong passwords from this site';
      return refuse(exchange, 429, 'TOOMANYREQUESTS', reason, {
        ...NOT_STORED,
        'retry-after': String(WINDOW_MS / 1000),
      });
    }
    whenOver(response, () => {
      if (!isDenied(response.statusCode)) return;
      wrong.add(user);
      wrong.add(site);
    });
    return route(exchange);
  };
}

/** The user of a Basic credential (RFC 7617), with the site; undefined where the request shows none. */
function userOf({ site, request }: RequestContext): string | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(request.headers.authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const [user = ''] = Buffer.from(encoded, 'base64').toString('latin1').split(':', 1);
  return `${site} ${user}`;
}

/** How often something has happened in the last window, by whom; the window begins with the first time. */
class RecentCounts {
  /** `until` in milliseconds on the clock of performance.now. */
  readonly #counts = new Map<string, { count: number; readonly until: number }>();

  of(key: string): number {
    const found = this.#counts.get(key);
    return found === undefined || found.until < performance.now() ? 0 : found.count;
  }

  add(key: string): void {
    const count = this.of(key);
    const known = this.#counts.get(key);
    if (known !== undefined && count > 0) {
      known.count++;
      return;
    }
    this.#counts.delete(key);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= MAX_COUNTS && oldest !== undefined) this.#counts.delete(oldest);
    this.#counts.set(key, { count: 1, until: performance.now() + WINDOW_MS });
  }
}
