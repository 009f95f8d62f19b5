import type { Route } from '../http-server/request-context.ts';
import { apiRoute } from './api.ts';
import { pageRoute } from './page-route.ts';
import type { StatusSource } from './status.ts';

/** What people and programs look at, by the first component of the path. */
export function adminPages(source: StatusSource): [string, Route][] {
  return [
    ['', pageRoute()],
    ['api', apiRoute(source)],
  ];
}
