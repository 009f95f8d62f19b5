import type { Status, Trouble, Work } from '../status.ts';
import { bar, byId, h, update } from './dom.ts';
import { ago, bytes, date, percent, seconds } from './format.ts';

/** What the operator looks at when something is wrong: work, disk, keys, troubles. */
export function showMore(status: Status): void {
  const cards = [troubles(status.troubles, status.at)];
  if (status.role === 'service') cards.push(work(status.work), place(status));
  update(byId('more'), h('section', { id: 'more', class: 'columns' }, ...cards));
}

function card(title: string, ...content: readonly HTMLElement[]): HTMLElement {
  return h(
    'section',
    { class: 'card', 'data-key': title },
    h('div', { class: 'head' }, h('h2', {}, title)),
    ...content,
  );
}

function work(jobs: readonly Work[]): HTMLElement {
  if (jobs.length === 0) return card('At work', h('p', { class: 'empty' }, 'Nothing is hashed or made now.'));
  const rows = jobs.map((job) => {
    const done = job.size === 0 ? 0 : job.read / job.size;
    const words = job.isBegun ? `${percent(done)}, ${seconds(job.etaSeconds)} to go` : 'waits for its turn';
    return h(
      'li',
      { 'data-key': `${job.what} ${job.name}` },
      h('span', { class: 'who' }, `${job.what} ${job.name}`),
      bar(done, words, 'here'),
      h('span', { class: 'small' }, `${bytes(job.size)}, ${words}`),
    );
  });
  return card('At work', h('ul', { class: 'list' }, ...rows));
}

function place({ disk, keys, at }: Status): HTMLElement {
  const rows: HTMLElement[] = [];
  if (disk !== undefined && disk.limit > 0) {
    const part = disk.used / disk.limit;
    rows.push(
      h(
        'li',
        { 'data-key': 'cache' },
        h('span', { class: 'who' }, 'Blobs kept'),
        bar(part, `${percent(part)} of the limit`, 'here'),
        h('span', { class: 'small' }, `${bytes(disk.used)} of ${bytes(disk.limit)}`),
      ),
    );
  }
  if (disk !== undefined) {
    rows.push(
      h(
        'li',
        { 'data-key': 'free' },
        h('span', { class: 'who' }, 'Free on its disk'),
        h('span', {}, bytes(disk.free)),
      ),
    );
  }
  for (const key of keys) {
    const age = seconds((at - key.madeAt) / 1000);
    rows.push(
      h(
        'li',
        { 'data-key': key.id },
        h('span', { class: 'who' }, `Key ${key.id.slice(0, 8)}`),
        h('span', {}, `${age} old`),
        h(
          'span',
          { class: 'small' },
          key.signs ? `signs, made ${date(key.madeAt)}` : `made ${date(key.madeAt)}`,
        ),
      ),
    );
  }
  return card('Disk and keys', h('ul', { class: 'list' }, ...rows));
}

function troubles(found: readonly Trouble[], now: number): HTMLElement {
  if (found.length === 0) return card('Troubles', h('p', { class: 'empty' }, 'None since it was started.'));
  const rows = found.map(({ message, count, lastAt }) =>
    h(
      'li',
      { 'data-key': message },
      h('span', { class: 'message' }, message),
      h(
        'span',
        { class: 'small' },
        count > 1 ? `${count} times, last ${ago(lastAt, now)}` : ago(lastAt, now),
      ),
    ),
  );
  return card('Troubles', h('ul', { class: 'list troubles' }, ...rows));
}
