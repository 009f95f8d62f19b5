import type { History, NodeRow, Page, Status, SwarmDetail, SwarmRow } from '../status.ts';
import { byId } from './dom.ts';
import { showMore } from './more.ts';
import { showNodes } from './nodes.ts';
import { Overview } from './overview.ts';
import { Plot } from './plot.ts';
import { Swarms } from './swarms.ts';

/** What the stream tells, by the names of its events. */
interface Told {
  readonly status: Status;
  readonly history: History;
  readonly swarms: Page<SwarmRow>;
  readonly nodes: Page<NodeRow>;
  readonly swarm: SwarmDetail | null;
}

/** A stream that was refused is asked for again after so long. */
const AGAIN_MS = 3000;
const FILTER_MS = 300;

const overview = new Overview();
const plot = new Plot();
const swarms = new Swarms(() => connect());
const filter = document.querySelector<HTMLInputElement>('#filter');
let stream: EventSource | undefined;
let role: Status['role'] | undefined;

function connect(): void {
  stream?.close();
  const query = new URLSearchParams();
  if (swarms.open !== undefined) query.set('swarm', swarms.open);
  if (filter !== null && filter.value !== '') query.set('query', filter.value.trim());
  const events = (stream = new EventSource(`api/v1/events?${query.toString()}`));
  const on = <Name extends keyof Told>(name: Name, show: (value: Told[Name]) => void): void =>
    events.addEventListener(name, ({ data }: MessageEvent<string>) => show(JSON.parse(data) as Told[Name]));
  events.addEventListener('open', () => tell('live'));
  events.addEventListener('error', () => {
    tell('reconnecting');
    if (events.readyState === EventSource.CLOSED && events === stream) setTimeout(connect, AGAIN_MS);
  });
  on('status', (status) => {
    role = status.role;
    swarms.isMirror = role === 'mirror';
    overview.show(status);
    showMore(status);
  });
  on('history', (history) => plot.show(history));
  on('swarms', (page) => swarms.show(page));
  on('nodes', (page) => showNodes(page, role));
  on('swarm', (detail) => swarms.showDetail(detail));
}

function tell(state: 'live' | 'reconnecting'): void {
  const place = byId('connection');
  if (place.textContent === state) return;
  place.textContent = state;
  place.dataset['state'] = state;
}

let waiting: ReturnType<typeof setTimeout> | undefined;
filter?.addEventListener('input', () => {
  clearTimeout(waiting);
  waiting = setTimeout(connect, FILTER_MS);
});
connect();
